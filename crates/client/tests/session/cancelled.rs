//! Dropping any future at any await point loses nothing: each is polled 0, 1, 2, ... times and dropped, and what came of it
//! is counted at a broker.

use std::{
    future::{Future, IntoFuture},
    pin::pin,
    task::Poll,
};

use postrider::{ConnectError, PublishError, QoS, Session, StoreError, Subscription};
use postrider_testing::TestBroker;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::peer::{PATIENCE, until};

/// More polls than any future here needs; each of them is dropped after every one.
const POLLS_MAX: usize = 50;

/// Polls a future so many times, each time when it asked for it, and drops it. Its output, if it came to that.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A broker, a session, and an observer that has subscribed to everything.
struct Stage {
    broker: TestBroker,
    session: Session,
    observer: Session,
    seen: Subscription,
}

impl Stage {
    async fn set() -> Self {
        Self::with_store(None).await
    }

    async fn with_store(folder: Option<&TempDir>) -> Self {
        let broker = TestBroker::start().unwrap();
        let observer = Session::builder(broker.url(), "observer").connect().await.unwrap();
        let seen = observer.subscribe("#", QoS::ExactlyOnce).await.unwrap();
        let mut builder = Session::builder(broker.url(), "session");
        if let Some(folder) = folder {
            builder = builder.store(folder.path());
        }
        let session = builder.connect().await.unwrap();
        Self { broker, session, observer, seen }
    }

    /// How many messages of a topic arrived at the observer, once nothing is open any more.
    async fn count(&mut self, topic: &str) -> usize {
        self.counts([topic]).await[0]
    }

    async fn counts<const N: usize>(&mut self, topics: [&str; N]) -> [usize; N] {
        until(|| self.session.stats().pending() == 0).await;
        self.session.publish("fence", "").qos(QoS::ExactlyOnce).await.unwrap();
        let mut counts = [0; N];
        loop {
            let message = timeout(PATIENCE, self.seen.next()).await.unwrap().unwrap();
            if message.topic() == "fence" {
                return counts;
            }
            for (count, topic) in counts.iter_mut().zip(topics) {
                *count += usize::from(message.topic() == topic);
            }
        }
    }

    /// Subscriptions at the broker besides the observer's.
    fn subscriptions(&self) -> u64 {
        self.broker.broker().unwrap().stats().subscriptions - 1
    }

    fn links(&self) -> u64 {
        self.broker.broker().unwrap().stats().links - 1
    }
}

/// Runs `each` with 0, 1, 2, ... until the future in it is no longer dropped unfinished.
macro_rules! at_every_poll {
    (|$times:ident| $each:expr) => {
        let mut is_finished = false;
        for $times in 0..POLLS_MAX {
            is_finished = $each;
            if is_finished {
                assert!($times > 0, "it is ready without a poll");
                break;
            }
        }
        assert!(is_finished, "not ready after {POLLS_MAX} polls");
    };
}

#[tokio::test]
async fn a_publish_dropped_at_any_poll_is_published_once() {
    let mut stage = Stage::set().await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        at_every_poll!(|times| {
            let topic = format!("awaited/{}/{times}", qos.bits());
            let request = stage.session.publish(topic.as_str(), "x").qos(qos);
            let done = polled(times, request.into_future()).await;
            assert_eq!(stage.count(&topic).await, usize::from(times > 0), "{topic}");
            done.transpose().unwrap().is_some()
        });
        at_every_poll!(|times| {
            let topic = format!("receipt/{}/{times}", qos.bits());
            let request = stage.session.publish(topic.as_str(), "x").qos(qos);
            let done = polled(times, request.receipt()).await;
            assert_eq!(stage.count(&topic).await, usize::from(times > 0), "{topic}");
            done.transpose().unwrap().is_some()
        });
        at_every_poll!(|times| {
            let topic = format!("completed/{}/{times}", qos.bits());
            let request = stage.session.publish(topic.as_str(), "x").qos(qos);
            let receipt = request.receipt().await.unwrap();
            let done = polled(times, receipt.completed()).await;
            assert_eq!(stage.count(&topic).await, 1, "{topic}");
            done.transpose().unwrap().is_some()
        });
    }
}

#[tokio::test]
async fn a_publish_dropped_at_any_poll_on_its_way_to_the_store_is_published_once() {
    let folder = TempDir::new().unwrap();
    let mut stage = Stage::with_store(Some(&folder)).await;
    at_every_poll!(|times| {
        let topic = format!("stored/{times}");
        let request = stage.session.publish(topic.as_str(), "x").qos(QoS::ExactlyOnce);
        let done = polled(times, request.stored()).await;
        assert_eq!(stage.count(&topic).await, usize::from(times > 0), "{topic}");
        done.transpose().unwrap().is_some()
    });
    at_every_poll!(|times| {
        let topic = format!("receipt/{times}");
        let request = stage.session.publish(topic.as_str(), "x").qos(QoS::AtLeastOnce);
        let mut receipt = request.receipt().await.unwrap();
        let done = polled(times, receipt.stored()).await;
        assert_eq!(stage.count(&topic).await, 1, "{topic}");
        done.transpose().unwrap().is_some()
    });
    // Two megabytes go through a file.
    let large = vec![b'x'; 2 << 20];
    at_every_poll!(|times| {
        let topic = format!("large/{times}");
        let request = stage.session.publish(topic.as_str(), large.clone()).qos(QoS::AtLeastOnce);
        let done = polled(times, request.into_future()).await;
        // It is read on a thread of its own, and does not count as open before.
        if times > 0 {
            until(|| stage.session.stats().published >= 1).await;
            while stage.count(&topic).await == 0 {}
        }
        assert_eq!(stage.count(&topic).await, 0, "a second one");
        done.transpose().unwrap().is_some()
    });
}

/// More publications than the way to the driver has room for.
const FILL: usize = 1500;

/// Fills the way to the driver, whose task has no turn before this one waits.
async fn fill(session: &Session) {
    for _ in 0..FILL {
        let fill = session.publish("fill", "x").qos(QoS::AtLeastOnce);
        // Polled once without a turn of the driver between; dropped, it is published.
        assert!(polled(1, fill.into_future()).await.is_none());
    }
}

#[tokio::test]
async fn a_publish_dropped_while_it_waits_for_room_is_published_once() {
    let mut stage = Stage::set().await;
    at_every_poll!(|times| {
        let topic = format!("waits/{times}");
        fill(&stage.session).await;
        let request = stage.session.publish(topic.as_str(), "x").qos(QoS::AtLeastOnce);
        let done = polled(times, request.into_future()).await;
        let counts = stage.counts([&topic, "fill"]).await;
        assert_eq!(counts, [usize::from(times > 0), FILL], "{topic}");
        done.transpose().unwrap().is_some()
    });
}

#[tokio::test]
async fn a_subscribe_dropped_at_any_poll_leaves_nothing_behind() {
    let stage = Stage::set().await;
    at_every_poll!(|times| {
        let request = stage.session.subscribe("a/+", QoS::ExactlyOnce);
        let done = polled(times, request.into_future()).await;
        let is_done = done.is_some();
        drop(done);
        until(|| stage.subscriptions() == 0).await;
        // The next one works, and is the only one.
        let mut stream = stage.session.subscribe("a/+", QoS::ExactlyOnce).await.unwrap();
        assert_eq!(stage.subscriptions(), 1);
        stage.observer.publish("a/b", times.to_string()).qos(QoS::AtLeastOnce).await.unwrap();
        assert_eq!(stream.next().await.unwrap().text().unwrap(), times.to_string());
        stream.unsubscribe().await.unwrap();
        assert_eq!(stage.subscriptions(), 0);
        is_done
    });
}

#[tokio::test]
async fn a_subscribe_to_many_dropped_at_any_poll_leaves_nothing_behind() {
    let stage = Stage::set().await;
    let filters = || ["a/+", "a/1", "b"].map(|filter| (filter, QoS::ExactlyOnce));
    at_every_poll!(|times| {
        let done = polled(times, stage.session.subscribe_many(filters()).into_future()).await;
        let is_done = done.is_some();
        drop(done);
        until(|| stage.subscriptions() == 0).await;
        // The next one works, and is the only one.
        let streams = stage.session.subscribe_many(filters()).await.unwrap();
        assert_eq!(stage.subscriptions(), 3);
        for stream in streams {
            stream.unwrap().unsubscribe().await.unwrap();
        }
        assert_eq!(stage.subscriptions(), 0);
        is_done
    });
}

#[tokio::test]
async fn an_unsubscribe_dropped_at_any_poll_is_done_all_the_same() {
    let stage = Stage::set().await;
    at_every_poll!(|times| {
        let mut stream = stage.session.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        let done = polled(times, stage.session.unsubscribe("a")).await;
        if times > 0 {
            until(|| stage.subscriptions() == 0).await;
            assert!(stream.next().await.is_none());
        } else {
            assert_eq!(stage.subscriptions(), 1);
        }
        done.transpose().unwrap().is_some()
    });
    at_every_poll!(|times| {
        let stream = stage.session.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        // The stream is gone with the future, polled or not.
        let done = polled(times, stream.unsubscribe()).await;
        until(|| stage.subscriptions() == 0).await;
        done.transpose().unwrap().is_some()
    });
    at_every_poll!(|times| {
        let _streams = (
            stage.session.subscribe("a", QoS::AtLeastOnce).await.unwrap(),
            stage.session.subscribe("b", QoS::AtLeastOnce).await.unwrap(),
        );
        let done = polled(times, stage.session.unsubscribe_all()).await;
        if times > 0 {
            until(|| stage.subscriptions() == 0).await;
        }
        done.transpose().unwrap().is_some()
    });
}

/// Neither waits for room: who ends something must not be held up by what others publish.
#[tokio::test]
async fn an_unsubscribe_dropped_while_there_is_no_room_is_done_all_the_same() {
    let mut stage = Stage::set().await;
    at_every_poll!(|times| {
        let streams = [
            stage.session.subscribe("a", QoS::AtLeastOnce).await.unwrap(),
            stage.session.subscribe("b", QoS::AtLeastOnce).await.unwrap(),
        ];
        fill(&stage.session).await;
        let done = polled(times, stage.session.unsubscribe("a")).await;
        if times > 0 {
            until(|| stage.subscriptions() == 1).await;
        }
        // What was published is there, and the other subscription.
        assert_eq!(stage.count("fill").await, FILL);
        assert_eq!(stage.subscriptions(), if times > 0 { 1 } else { 2 });
        drop(streams);
        until(|| stage.subscriptions() == 0).await;
        done.transpose().unwrap().is_some()
    });
}

#[tokio::test]
async fn a_disconnect_dropped_while_there_is_no_room_is_done_all_the_same() {
    at_every_poll!(|times| {
        let mut stage = Stage::set().await;
        fill(&stage.session).await;
        let done = polled(times, stage.session.disconnect()).await;
        if times > 0 {
            until(|| stage.session.ended().is_some()).await;
            until(|| stage.links() == 0).await;
            let mut count = 0;
            while count < FILL {
                let message = timeout(PATIENCE, stage.seen.next()).await.unwrap().unwrap();
                assert_eq!(message.topic(), "fill");
                count += 1;
            }
        } else {
            assert_eq!(stage.count("fill").await, FILL);
        }
        done.transpose().unwrap().is_some()
    });
}

#[tokio::test]
async fn a_next_dropped_at_any_poll_loses_no_message() {
    const COUNT: usize = 300;
    let stage = Stage::set().await;
    let mut stream = stage.session.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    let publisher = stage.observer.clone();
    let publishing = tokio::spawn(async move {
        for turn in 0..COUNT {
            publisher.publish("a", turn.to_string()).qos(QoS::AtLeastOnce).await.unwrap();
        }
    });
    let mut texts = Vec::new();
    let reading = async {
        for turn in 0.. {
            if let Some(message) = polled(turn % 3, stream.next()).await {
                texts.push(message.unwrap().text().unwrap().to_owned());
            }
            if texts.len() == COUNT {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reading).await.expect("every message comes");
    publishing.await.unwrap();
    assert_eq!(texts, (0..COUNT).map(|turn| turn.to_string()).collect::<Vec<_>>());
    assert_eq!(stream.waiting(), 0);
}

#[tokio::test]
async fn a_disconnect_dropped_at_any_poll_is_done_all_the_same() {
    at_every_poll!(|times| {
        let mut stage = Stage::set().await;
        let receipt = stage.session.publish("last", "x").qos(QoS::ExactlyOnce).receipt().await;
        let done = polled(times, stage.session.disconnect()).await;
        if times > 0 {
            until(|| stage.links() == 0).await;
            assert!(stage.session.ended().is_some());
            receipt.unwrap().await.unwrap();
        } else {
            assert_eq!(stage.links(), 1);
            assert_eq!(stage.count("last").await, 1);
        }
        done.transpose().unwrap().is_some()
    });
}

#[tokio::test]
async fn a_connect_dropped_at_any_poll_leaves_nothing_behind() {
    let broker = TestBroker::start().unwrap();
    let links = || broker.broker().unwrap().stats().links;
    at_every_poll!(|times| {
        let builder = Session::builder(broker.url(), "session");
        let done = polled(times, builder.connect()).await;
        let is_done = done.transpose().unwrap().is_some();
        until(|| links() == 0).await;
        is_done
    });
    let folder = TempDir::new().unwrap();
    let mut last = 0;
    at_every_poll!(|times| {
        let builder = || Session::builder(broker.url(), "stored").store(folder.path());
        let done = polled(times, builder().connect()).await;
        let is_done = done.transpose().unwrap().is_some();
        // The store is free again as soon as the one before has closed it.
        let session = loop {
            match builder().start().await {
                Ok(session) => break session,
                Err(ConnectError::Store(StoreError::Locked(_))) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let number = session.publish("a", "x").qos(QoS::AtLeastOnce).await.unwrap().number;
        assert!(number > last, "{number} after {last}: the store is the one of before");
        last = number;
        session.disconnect().await.unwrap();
        until(|| links() == 0).await;
        is_done
    });
}

/// What asks for something only may be dropped as well.
#[tokio::test]
async fn a_question_dropped_at_any_poll_changes_nothing() {
    let mut stage = Stage::set().await;
    at_every_poll!(|times| polled(times, stage.session.pending()).await.is_some());
    at_every_poll!(|times| {
        let done = polled(times, stage.session.receipt(1)).await;
        assert!(matches!(done, None | Some(Err(PublishError::NotOpen(1)))));
        done.is_some()
    });
    assert_eq!(stage.count("any").await, 0);
}
