//! `postrider rr`: publishes a request and prints the response.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use postrider::{Filter, Message, Property, PublishRequest, QoS, Session, Topic};
use tokio::time::timeout;

use crate::{
    args::{Place, ProtocolArg, RequestArgs},
    names::Manner,
    out,
    payload::Content,
    printer::Sheet,
    publish,
    status::{self, Codes, Usage},
    teller::Teller,
    trace::Subscribed,
};

/// Prints the response to a request; the exit status says whether there was one.
pub(crate) fn request(args: &mut RequestArgs, manner: Manner) -> anyhow::Result<ExitCode> {
    if manner == Manner::Mosquitto {
        args.connection.prefer(ProtocolArg::V5);
    }
    args.connection.begin(manner)?;
    let topic = publish::topic(args.topic.as_ref(), &args.connection)?;
    let content = args.message.content()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = async {
        match args.timeout.map(Duration::from_secs) {
            Some(time) => timeout(time, args.ask(topic, &content, manner)).await,
            None => Ok(args.ask(topic, &content, manner).await),
        }
    };
    let Ok(response) = runtime.block_on(asked) else {
        if manner == Manner::Mosquitto {
            out::complain("Timed out");
        }
        return Ok(ExitCode::from(status::TIMED_OUT));
    };
    let mut sheet = Sheet::default();
    args.output.output(false, manner).write(&response?, &mut sheet);
    let mut output = io::stdout().lock();
    sheet
        .write_to(&mut output)
        .and_then(|()| output.flush())
        .context("cannot write to standard output")?;
    Ok(ExitCode::from(status::DONE))
}

impl RequestArgs {
    /// The codes that the server refuses with.
    pub(crate) fn codes(&self, manner: Manner) -> Codes {
        self.connection.codes(manner)
    }

    async fn ask(
        &self,
        topic: Topic,
        content: &Content,
        manner: Manner,
    ) -> anyhow::Result<Message> {
        // The connection may be lost before the request is sent, and is made again.
        let builder = self.connection.builder(manner, Subscribed::Untold)?.queue_qos0_offline(true);
        let session = builder.connect().await?;
        let exchange = self.exchange(&session, topic, content, manner);
        Teller::new(&session).beside(exchange).await
    }

    async fn exchange(
        &self,
        session: &Session,
        topic: Topic,
        content: &Content,
        manner: Manner,
    ) -> anyhow::Result<Message> {
        let qos = QoS::from_bits(self.qos).context("--qos must be 0, 1 or 2")?;
        let (properties, correlation) = self.properties(session, manner);
        let filter = Filter::new(self.response_topic.as_str());
        let filter = filter.map_err(|error| Usage(format!("--response-topic: {error}")))?;
        let mut subscribing = session.subscribe(filter, qos);
        for property in self.connection.of(Place::Subscribe) {
            if let Property::UserProperty(name, value) = property {
                subscribing = subscribing.user_property(name.as_str(), value.as_str());
            }
        }
        if let Some(when) = self.retain_handling {
            subscribing = subscribing.retain_handling(when.handling());
        }
        let mut responses = subscribing.await?;
        let publishing = content.publish(session, topic.clone())?.qos(qos);
        let publishing = properties.into_iter().fold(publishing, PublishRequest::property);
        publishing.await.with_context(|| format!("'{topic}' was not published"))?;
        loop {
            let Some(response) = responses.next().await else {
                let end = responses.ended().map(|end| format!(": {end}")).unwrap_or_default();
                anyhow::bail!("no response comes any more{end}");
            };
            if self.no_retained && response.is_retained()
                || !answers(&response, correlation.as_deref())
            {
                continue;
            }
            // The response is there; what becomes of the connection is no concern of it.
            let _ = self.connection.disconnect(session).await;
            return Ok(response);
        }
    }

    /// The properties of the request, and what its response must carry.
    fn properties(&self, session: &Session, manner: Manner) -> (Vec<Property>, Option<Vec<u8>>) {
        let mut properties: Vec<Property> = self.connection.of_message().collect();
        if !session.limits().is_some_and(|limits| limits.has_properties) {
            return (properties, None);
        }
        let has_topic =
            properties.iter().any(|property| matches!(property, Property::ResponseTopic(_)));
        if !has_topic && let Ok(text) = postrider::Text::new(self.response_topic.as_str()) {
            properties.push(Property::ResponseTopic(text));
        }
        let mut correlation = properties.iter().find_map(|property| {
            if let Property::CorrelationData(data) = property { Some(data.to_vec()) } else { None }
        });
        if correlation.is_none() && manner == Manner::Postrider {
            // Nobody else draws the same.
            let data = RandomState::new().hash_one("correlation").to_be_bytes().to_vec();
            properties.push(Property::CorrelationData(data.clone().into()));
            correlation = Some(data);
        }
        (properties, correlation)
    }
}

/// Whether it answers our request. A service that knows nothing of correlation data sends none.
fn answers(response: &Message, correlation: Option<&[u8]>) -> bool {
    match (correlation, response.correlation_data()) {
        (Some(expected), Some(data)) => data == expected,
        (Some(_) | None, None) | (None, Some(_)) => true,
    }
}
