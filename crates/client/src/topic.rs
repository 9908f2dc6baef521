//! Topics and filters as a program writes them: strings, or values checked already.

use postrider_proto::wire::{Filter, FilterError, Topic, TopicError};

/// A string that is not a topic, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTopic {
    /// The string.
    pub topic: String,
    /// What is wrong with it, and at which byte.
    pub error: TopicError,
}

/// A string that is not a topic filter, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFilter {
    /// The string.
    pub filter: String,
    /// What is wrong with it, and at which byte.
    pub error: FilterError,
}

/// What may be given as a topic. A [`Topic`] costs no check and, cloned, no allocation.
pub trait IntoTopic {
    /// The topic.
    ///
    /// # Errors
    /// [`NotTopic`].
    fn into_topic(self) -> Result<Topic, NotTopic>;
}

/// What may be given as a topic filter.
pub trait IntoFilter {
    /// The filter.
    ///
    /// # Errors
    /// [`NotFilter`].
    fn into_filter(self) -> Result<Filter, NotFilter>;
}

impl IntoTopic for &str {
    fn into_topic(self) -> Result<Topic, NotTopic> {
        Topic::new(self).map_err(|error| NotTopic { topic: self.to_owned(), error })
    }
}

impl IntoTopic for String {
    fn into_topic(self) -> Result<Topic, NotTopic> {
        self.as_str().into_topic()
    }
}

impl IntoTopic for &String {
    fn into_topic(self) -> Result<Topic, NotTopic> {
        self.as_str().into_topic()
    }
}

impl IntoTopic for Topic {
    fn into_topic(self) -> Result<Topic, NotTopic> {
        Ok(self)
    }
}

impl IntoTopic for &Topic {
    fn into_topic(self) -> Result<Topic, NotTopic> {
        Ok(self.clone())
    }
}

impl IntoFilter for &str {
    fn into_filter(self) -> Result<Filter, NotFilter> {
        Filter::new(self).map_err(|error| NotFilter { filter: self.to_owned(), error })
    }
}

impl IntoFilter for String {
    fn into_filter(self) -> Result<Filter, NotFilter> {
        self.as_str().into_filter()
    }
}

impl IntoFilter for &String {
    fn into_filter(self) -> Result<Filter, NotFilter> {
        self.as_str().into_filter()
    }
}

impl IntoFilter for Filter {
    fn into_filter(self) -> Result<Filter, NotFilter> {
        Ok(self)
    }
}

impl IntoFilter for &Filter {
    fn into_filter(self) -> Result<Filter, NotFilter> {
        Ok(self.clone())
    }
}

impl std::fmt::Display for NotTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' is not a topic: {}", self.topic, self.error)?;
        if matches!(self.error, TopicError::Wildcard(_)) {
            f.write_str("; wildcards belong into subscriptions")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for NotFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' is not a topic filter: {}", self.filter, self.error)
    }
}

impl std::error::Error for NotTopic {}
impl std::error::Error for NotFilter {}
