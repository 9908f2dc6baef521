//! Finds the subscriptions that match a topic.
