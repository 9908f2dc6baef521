//! Scenarios in which something gets lost, or could.

use std::time::Duration;

use postrider::{Event, QoS};

use super::{
    client::Client,
    inbox::Inbox,
    setting::{Options, Server, Setting},
};

/// v5 [MQTT-4.3.2-4] [MQTT-4.3.3-10] [MQTT-4.4.0-1], v3.1.1 [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-4.4.0-1].
pub(crate) fn message_whose_answer_is_lost_is_sent_again<S: Server>(setting: Setting<S>) {
    let watcher = setting.client("again-watcher");
    let mut inbox = watcher.subscribe("again/#", QoS::ExactlyOnce);
    let options = Options { is_persistent: true, ..Options::default() };
    let client = setting.client_with("again", options);

    client.lose_next_answer();
    client.publish("again/a", "at least once", QoS::AtLeastOnce);
    client.publish("again/a", "fence", QoS::AtLeastOnce);
    let texts = inbox.texts(2);
    if texts != ["at least once", "fence"] {
        assert_eq!(texts, ["at least once", "at least once"]);
        assert_eq!(inbox.texts(1), ["fence"]);
    }

    let qos = setting.publishable(QoS::ExactlyOnce);
    if qos == QoS::ExactlyOnce {
        client.lose_next_answer();
        client.publish("again/a", "exactly once", qos);
        client.publish("again/a", "fence", qos);
        assert_eq!(inbox.texts(1), ["exactly once"]);
        if !setting.habits.knows_repeated_qos2 {
            assert_eq!(inbox.texts(1), ["exactly once"]);
            setting.limits.met("a repeated PUBLISH at QoS 2 is delivered twice");
        }
        assert_eq!(inbox.texts(1), ["fence"]);
    }
    client.disconnect().expect("nothing is open");
}

/// v5 [MQTT-4.4.0-1], v3.1.1 [MQTT-4.4.0-1]: in the session that goes on, with or without DUP, at once or after a while.
pub(crate) fn message_lost_on_its_way_comes_again<S: Server>(setting: Setting<S>) {
    let options = Options { is_persistent: true, ..Options::default() };
    let client = setting.client_with("lost", options);
    let mut inbox = client.subscribe("lost/#", QoS::ExactlyOnce);
    let other = setting.client("lost-other");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let connections = client.connections();
        client.lose_next_answer();
        let text = format!("at {qos}");
        other.publish("lost/a", text.clone(), setting.publishable(qos));
        assert_eq!(inbox.texts(1), [text]);
        assert!(client.connections() > connections, "it was lost the first time");
    }
    other.publish("lost/a", "fence", setting.publishable(QoS::ExactlyOnce));
    assert_eq!(inbox.texts(1), ["fence"]);
    client.unsubscribe_all().expect("subscribed");
    client.disconnect().expect("nothing is open");
}

/// v5 [MQTT-3.1.2-20], v3.1.1 [MQTT-3.1.2-23]: whether a broker waits one and a half times the keep-alive time, or once.
pub(crate) fn idle_connection_is_kept_by_pings<S: Server>(setting: Setting<S>) {
    let keep_alive = Some(Duration::from_secs(2));
    let client = setting.client_with("idle", Options { keep_alive, ..Options::default() });
    let connections = client.connections();
    client.wait_for_answers_to_pings(3);
    client.publish("idle", "still here", QoS::AtLeastOnce);
    assert_eq!(client.connections(), connections, "it never had to connect again");
    client.disconnect().expect("nothing is open");
}

pub(crate) fn killed_broker_is_found_again<S: Server>(setting: Setting<S>) {
    let mut setting = setting.alone();
    let client = setting.client("survivor");
    let mut inbox = client.subscribe("survivor/#", QoS::AtLeastOnce);
    client.publish("survivor/a", "before", QoS::AtLeastOnce);
    assert_eq!(inbox.texts(1), ["before"]);
    setting.server.kill();
    client.wait_for("disconnected", |event| matches!(event, Event::Disconnected { .. }));
    let pending: Vec<_> = [QoS::AtLeastOnce, QoS::ExactlyOnce]
        .iter()
        .map(|qos| client.start_publish("survivor/a", "meanwhile", setting.publishable(*qos)))
        .collect();
    setting.server.restart();
    for pending in pending {
        pending.complete();
    }
    client.publish("survivor/a", "after", QoS::AtLeastOnce);
    let mut texts = if setting.habits.keeps_subscriptions_in_a_crash {
        inbox.texts(3)
    } else {
        texts_before_a_fence(&client, &mut inbox)
    };
    if texts.is_empty() {
        assert!(client.session_present(), "it would have been subscribed again");
        setting.limits.met("a subscription made just before a crash is lost, its session is not");
        return;
    }
    if texts.first().is_some_and(|text| text == "before") && !setting.habits.keeps_acks_in_a_crash {
        setting.limits.met("a message acknowledged just before a crash comes again");
        texts.remove(0);
        if texts.len() < 3 {
            texts.extend(inbox.texts(1));
        }
    }
    assert_eq!(texts, ["meanwhile", "meanwhile", "after"]);
    client.disconnect().expect("nothing is open");
}

/// All that has come, where messages of two subscriptions keep their order.
fn texts_before_a_fence(client: &Client, inbox: &mut Inbox<'_>) -> Vec<String> {
    let mut fence = client.subscribe("survivor-fence", QoS::AtLeastOnce);
    client.publish("survivor-fence", "fence", QoS::AtLeastOnce);
    assert_eq!(fence.texts(1), ["fence"]);
    client.unsubscribe_all().expect("subscribed");
    inbox
        .rest()
        .iter()
        .map(|message| message.text_lossy().expect("a small one").into_owned())
        .collect()
}
