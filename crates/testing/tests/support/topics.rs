//! Scenarios about what a topic or a filter may be.

use postrider::{LinkReason, PublishError, QoS, ReasonCode, SessionEnd, SubscribeError};

use super::{
    habits::{DollarTopic, Oddity, Shares},
    setting::{Options, Server, Setting},
};

/// v5 [MQTT-4.7.3-4], v3.1.1 [MQTT-4.7.3-4]: whatever characters a topic has, empty levels among them.
pub(crate) fn odd_topics_arrive_as_they_were_sent<S: Server>(setting: Setting<S>) {
    let watcher = setting.client("odd-watcher");
    let mut inbox = watcher.subscribe("odd/#", QoS::AtLeastOnce);
    for topic in
        ["odd/a.b", "odd/a b", "odd/a*b", "odd//b", "odd/b/", "odd/\u{e4}\u{20ac}\u{1f600}"]
    {
        let options = Options { is_not_reconnecting: true, ..Options::default() };
        let client = setting.client_with("odd", options);
        let result = client.try_publish(topic, topic, QoS::AtLeastOnce, false);
        let oddity = (setting.habits.odd_topic)(topic);
        if let Oddity::Closes(what) = oddity {
            assert!(result.as_ref().is_err_and(is_lost), "{topic}: {result:?}");
            setting.limits.met(what);
            continue;
        }
        assert!(result.is_ok(), "{topic}: {result:?}");
        client.disconnect().expect("nothing is open");
        let message = inbox.next();
        let wanted = match oddity {
            Oddity::Becomes(becomes, what) => {
                setting.limits.met(what);
                becomes
            }
            Oddity::None | Oddity::Closes(_) => topic,
        };
        assert_eq!((message.topic(), message.text()), (setting.topic(wanted).as_str(), Ok(topic)));
    }
}

/// v5 [MQTT-4.7.2-1], v3.1.1 [MQTT-4.7.2-1]: the client forbids no such topic, whatever the broker makes of it.
pub(crate) fn topic_with_a_dollar_is_one_like_others<S: Server>(setting: Setting<S>) {
    let scope = setting.topic("");
    let qos = QoS::AtLeastOnce;
    let options = Options { is_not_reconnecting: true, ..Options::default() };
    let client = setting.client_with("dollar", options);
    let inbox = client.try_subscribe_exactly(&format!("$dollar/{scope}#"), qos);
    let mut inbox = inbox.expect("the broker grants the subscription");
    let topic = format!("$dollar/{scope}a");
    let result = client.try_publish_exactly(&topic, "x", qos, false);
    match setting.habits.dollar_topic {
        DollarTopic::Delivered | DollarTopic::Lost => assert!(result.is_ok(), "{result:?}"),
        DollarTopic::Refused => {
            let not_allowed = ReasonCode::TopicNameInvalid;
            let is_told = |error: &PublishError| matches!(error, PublishError::Refused { reason, explanation: Some(_), .. } if *reason == not_allowed);
            assert!(result.as_ref().is_err_and(is_told), "{result:?}");
            setting.limits.met("a topic with a dollar sign in front is refused, with a reason");
        }
        DollarTopic::Closes => {
            assert!(result.as_ref().is_err_and(is_lost), "{result:?}");
            setting.limits.met("a topic with a dollar sign in front ends the connection");
            return;
        }
    }
    if setting.habits.dollar_topic == DollarTopic::Delivered {
        let message = inbox.next();
        assert_eq!((message.topic(), message.text()), (topic.as_str(), Ok("x")));
    }
    let mut fence = client.subscribe("dollar-fence", qos);
    client.publish("dollar-fence", "fence", qos);
    assert_eq!(fence.texts(1), ["fence"]);
    client.unsubscribe_all().expect("subscribed");
    assert!(inbox.rest().is_empty());
    if setting.habits.dollar_topic == DollarTopic::Lost {
        setting
            .limits
            .met("a message to a topic with a dollar sign in front is taken, and goes nowhere");
    }
}

/// v5 [MQTT-4.8.2-1]: each message to one of the members.
pub(crate) fn shared_subscription_gives_each_message_to_one<S: Server>(setting: Setting<S>) {
    let filter = format!("$share/group/{}", setting.topic("share/+"));
    let qos = QoS::AtLeastOnce;
    let options = Options { is_not_reconnecting: true, ..Options::default() };
    let clients = ["share-one", "share-two"].map(|id| setting.client_with(id, options.clone()));
    let other = setting.client("share-other");
    let mut members = Vec::new();
    for client in &clients {
        let result = client.try_subscribe_exactly(&filter, qos);
        match (setting.habits.shares, result) {
            (Shares::Yes | Shares::AsTopic, Ok(member)) => members.push(member),
            (Shares::NotOffered, Err(SubscribeError::NotOffered { .. })) => {
                setting.limits.met("shared subscriptions are not offered, so none is asked for");
                return;
            }
            (Shares::Closes, Err(SubscribeError::Over(SessionEnd::Link(LinkReason::Lost)))) => {
                setting.limits.met("a shared subscription ends the connection");
                return;
            }
            (shares, result) => panic!("{shares:?}, and {:?}", result.err()),
        }
    }
    let mut wanted: Vec<String> = (10..30).map(|turn| turn.to_string()).collect();
    for text in &wanted {
        other.publish("share/a", text.clone(), qos);
    }
    let mut got = Vec::new();
    for (client, mut member) in clients.iter().zip(members) {
        let mut fence = client.subscribe("share-fence", qos);
        other.publish("share-fence", "fence", qos);
        assert_eq!(fence.texts(1), ["fence"]);
        client.unsubscribe_all().expect("subscribed");
        got.extend(
            member
                .rest()
                .iter()
                .map(|message| message.text_lossy().expect("a small one").into_owned()),
        );
    }
    if setting.habits.shares == Shares::AsTopic {
        setting.limits.met("a shared subscription is granted, and gets nothing");
        wanted.clear();
    }
    got.sort();
    assert_eq!(got, wanted);
}

fn is_lost(error: &PublishError) -> bool {
    matches!(error, PublishError::Over(SessionEnd::Link(LinkReason::Lost)))
}
