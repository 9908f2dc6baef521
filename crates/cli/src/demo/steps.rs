//! The short steps.

use anyhow::{Context, ensure};
use postrider::{Message, Protocol, QoS, Session, Subscription};

use super::{Demo, giant::Second, step};

impl Demo {
    pub(super) async fn connect(&self) -> anyhow::Result<Session> {
        step("connect", async {
            let session = self.client("one").version(self.protocol).connect().await?;
            let connected = session.connected().context("the connection is gone again")?;
            let age = if connected.session_present { "taken up" } else { "new" };
            let text = format!("MQTT {}, session {age}, {}", connected.version, connected.server);
            Ok((session, text))
        })
        .await
    }

    /// One subscription for each quality of service, in their order.
    pub(super) async fn subscribe(&self, session: &Session) -> anyhow::Result<[Subscription; 3]> {
        let one = |qos: QoS| async move {
            step(&format!("subscribe QoS {}", qos.bits()), async {
                let stream = session.subscribe(self.numbered(qos), qos).await?;
                let granted = stream.granted();
                ensure!(granted == qos, "only QoS {} was granted", granted.bits());
                let text = format!("{}, granted QoS {}", stream.filter(), granted.bits());
                Ok((stream, text))
            })
            .await
        };
        let [zero, first, second] = QOS;
        Ok([one(zero).await?, one(first).await?, one(second).await?])
    }

    /// One message at each quality of service.
    pub(super) async fn publish(
        &self,
        session: &Session,
        streams: &mut [Subscription; 3],
    ) -> anyhow::Result<()> {
        for (stream, qos) in streams.iter_mut().zip(QOS) {
            step(&format!("publish QoS {}", qos.bits()), async {
                let text = format!("hello at QoS {}", qos.bits());
                let published = session.publish(self.numbered(qos), &text).qos(qos).await?;
                let message = next(stream).await?;
                expect(&message, &text, qos, false)?;
                let answer = match qos {
                    QoS::AtMostOnce => "",
                    QoS::AtLeastOnce => ", acknowledged",
                    QoS::ExactlyOnce if published.is_downgraded => ", acknowledged only",
                    QoS::ExactlyOnce => ", completed",
                };
                Ok(((), format!("'{text}' came back{answer}")))
            })
            .await?;
        }
        Ok(())
    }

    /// A retained message reaches a client that comes later, and is cleared.
    pub(super) async fn retain(&self, session: &Session) -> anyhow::Result<Second> {
        let topic = self.topic("retained");
        step("retain", async {
            let request = session.publish(&topic, "kept").qos(QoS::AtLeastOnce).retain(true);
            request.await?;
            Ok(((), format!("'kept' at {topic}")))
        })
        .await?;
        let (second, mut stream) = step("late subscriber", async {
            // It takes the giant too, and 3.1.1 has the smallest head.
            let session = self.client("two").version(Protocol::V311).connect().await?;
            let mut stream = session.subscribe(&topic, QoS::AtLeastOnce).await?;
            expect(&next(&mut stream).await?, "kept", QoS::AtLeastOnce, true)?;
            let text = "a second client, MQTT 3.1.1, got 'kept'".to_owned();
            Ok(((Second { session }, stream), text))
        })
        .await?;
        step("clear retained", async {
            session.publish(&topic, "").qos(QoS::AtLeastOnce).retain(true).await?;
            // Nothing is retained now, so this is live.
            expect(&next(&mut stream).await?, "", QoS::AtLeastOnce, false)?;
            stream.unsubscribe().await?;
            let mut stream = second.session.subscribe(&topic, QoS::AtLeastOnce).await?;
            session.publish(&topic, "not kept").qos(QoS::AtLeastOnce).await?;
            // A retained message would have come first.
            expect(&next(&mut stream).await?, "not kept", QoS::AtLeastOnce, false)?;
            stream.unsubscribe().await?;
            Ok((second, "a new subscription gets nothing old".to_owned()))
        })
        .await
    }

    /// Unsubscribes from the first topic: nothing comes from there any more, the others go on.
    pub(super) async fn unsubscribe(
        &self,
        session: &Session,
        streams: &mut [Subscription; 3],
    ) -> anyhow::Result<()> {
        let [zero, first, _] = streams;
        step("unsubscribe", async {
            session.unsubscribe(zero.filter()).await?;
            finish(zero).await?;
            session.publish(zero.filter(), "to nobody").qos(QoS::AtLeastOnce).await?;
            // What comes later on the same connection shows that the one before did not come.
            session.publish(first.filter(), "still here").qos(QoS::AtLeastOnce).await?;
            expect(&next(first).await?, "still here", QoS::AtLeastOnce, false)?;
            Ok(((), "nothing comes from there, the others go on".to_owned()))
        })
        .await
    }

    /// Unsubscribes from everything: nothing comes any more.
    pub(super) async fn unsubscribe_all(
        &self,
        session: &Session,
        streams: &mut [Subscription; 3],
    ) -> anyhow::Result<()> {
        step("unsubscribe all", async {
            session.unsubscribe_all().await?;
            for stream in streams.iter_mut() {
                finish(stream).await?;
                session.publish(stream.filter(), "to nobody").qos(QoS::AtLeastOnce).await?;
            }
            let mut fence = session.subscribe(self.topic("fence"), QoS::AtLeastOnce).await?;
            session.publish(fence.filter(), "the end").qos(QoS::AtLeastOnce).await?;
            expect(&next(&mut fence).await?, "the end", QoS::AtLeastOnce, false)?;
            fence.unsubscribe().await?;
            Ok(((), "nothing comes any more".to_owned()))
        })
        .await
    }

    pub(super) async fn disconnect(&self, one: &Session, two: &Session) -> anyhow::Result<()> {
        step("disconnect", async {
            one.disconnect().await?;
            two.disconnect().await?;
            let [one, two] = [one.ended(), two.ended()].map(|end| end.map(|end| end.to_string()));
            ensure!(one.is_some() && one == two, "the clients ended as {one:?} and {two:?}");
            Ok(((), "both clients, with a goodbye".to_owned()))
        })
        .await
    }

    /// The topic of one quality of service.
    fn numbered(&self, qos: QoS) -> String {
        self.topic(&format!("qos{}", qos.bits()))
    }
}

/// The next message; an error if there will be none.
pub(super) async fn next(stream: &mut Subscription) -> anyhow::Result<Message> {
    let message = stream.next().await;
    message.with_context(|| match stream.ended() {
        Some(end) => format!("nothing more comes for '{}': {end}", stream.filter()),
        None => format!("nothing more comes for '{}'", stream.filter()),
    })
}

fn expect(message: &Message, text: &str, qos: QoS, is_retained: bool) -> anyhow::Result<()> {
    let came = message.text_lossy()?;
    ensure!(came == text, "'{text}' should have come, not '{came}'");
    ensure!(message.qos() == qos, "'{text}' came at QoS {}", message.qos().bits());
    ensure!(
        message.is_retained() == is_retained,
        "'{text}' came {} the mark of a retained message",
        if is_retained { "without" } else { "with" }
    );
    Ok(())
}

/// Reads a stream that has ended to its end; an error if something came too much.
async fn finish(stream: &mut Subscription) -> anyhow::Result<()> {
    let rest = stream.next().await;
    ensure!(rest.is_none(), "a message too many came for '{}'", stream.filter());
    Ok(())
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
