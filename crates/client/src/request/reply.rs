//! Answering a request.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use postrider_proto::wire::{Properties, Property, QoS, Text};

use super::ReplyError;
use crate::{
    Message, Payload, PublishError, PublishRequest, Published,
    blocking::{seat, wait},
    said::say,
    shared::Shared,
};

/// An answer about to be published; `.await` it, or [`Reply::wait`] without async.
#[must_use = "nothing is answered until it is awaited"]
#[derive(Debug)]
pub struct Reply {
    /// Where to, and in which session.
    to: Result<(String, Arc<Shared>), ReplyError>,
    payload: Payload,
    qos: QoS,
    properties: Properties,
}

impl Message {
    /// Answers a request: publishes to its response topic, with its correlation data (5.0). The QoS is that of the
    /// request as it arrived, unless [`Reply::qos`] says otherwise.
    ///
    /// ```no_run
    /// # async fn example(session: postrider::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// use postrider::QoS;
    ///
    /// let mut questions = session.subscribe("plant/7/read", QoS::AtLeastOnce).await?;
    /// while let Some(question) = questions.next().await {
    ///     question.reply("21.5").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reply(&self, payload: impl Into<Payload>) -> Reply {
        let to = match (self.response_topic(), &self.session) {
            (Some(topic), Some(shared)) => Ok((topic.to_owned(), Arc::clone(shared))),
            _ => Err(ReplyError::NotAsked { topic: self.topic().to_owned() }),
        };
        let correlation = self.correlation_data().cloned().map(Property::CorrelationData);
        Reply {
            to,
            payload: payload.into(),
            qos: self.qos(),
            properties: correlation.into_iter().collect(),
        }
    }
}

impl Reply {
    /// Quality of service of the answer.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// What the payload is, such as `application/json`.
    pub fn content_type(mut self, content_type: &str) -> Self {
        match Text::new(content_type) {
            Ok(text) => self.property(Property::ContentType(text)),
            Err(error) => {
                let what = "content type";
                self.to = self.to.and(Err(PublishError::Text { what, error }.into()));
                self
            }
        }
    }

    /// Adds any property that a PUBLISH may have; the correlation data is there already.
    pub fn property(mut self, property: Property) -> Self {
        say(&mut self.properties, property);
        self
    }

    /// Waits until the answer is published, without async. See [`crate::blocking`].
    ///
    /// # Errors
    /// [`ReplyError`].
    pub fn wait(self) -> Result<Published, ReplyError> {
        match &self.to {
            Ok((_, shared)) => seat::wait(&Arc::clone(shared), self.send()),
            Err(_) => wait::wait(self.send()),
        }
    }

    async fn send(self) -> Result<Published, ReplyError> {
        let (topic, shared) = self.to?;
        let Some(handle) = shared.handle() else {
            return Err(PublishError::Over(shared.end()).into());
        };
        let topic = crate::IntoTopic::into_topic(topic)?;
        let mut publish = PublishRequest::new(&(), &handle, topic, self.payload).qos(self.qos);
        for property in &self.properties {
            publish = publish.property(property.clone());
        }
        Ok(publish.complete().await?)
    }
}

impl IntoFuture for Reply {
    type Output = Result<Published, ReplyError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
