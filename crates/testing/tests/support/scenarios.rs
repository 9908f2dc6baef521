//! The scenarios.
//!
//! That something does not arrive is shown by a later message that does.

use std::io::Read;

use postrider::{
    Bytes, ConnectError, Event, LinkReason, PublishError, QoS, ReasonCode, SessionEnd, Will,
};

use super::{
    client::Client,
    habits::{Overlap, Qos0Offline, Qos2},
    inbox::Inbox,
    setting::{Options, Server, Setting},
};
pub(crate) use super::{losses::*, topics::*};

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// v5 [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.6.0-5], v3.1.1 [MQTT-4.3.1-1] [MQTT-4.3.2-1]
/// [MQTT-4.3.3-1] [MQTT-4.6.0-6].
pub(crate) fn message_of_each_qos_arrives<S: Server>(setting: Setting<S>) {
    let client = setting.client("each-qos");
    let mut inbox = client.subscribe("each/qos", QoS::ExactlyOnce);
    let granted = setting.granted(QoS::ExactlyOnce);
    assert_eq!(inbox.granted(), granted);
    for qos in ALL {
        if qos == QoS::ExactlyOnce && setting.publishable(qos) != qos {
            publication_at_qos_2_is_refused(&setting);
            break;
        }
        for turn in 0..10 {
            let published = client.publish("each/qos", format!("{qos} {turn}"), qos);
            assert_eq!(published.reason, ReasonCode::Success);
            assert_eq!(published.is_downgraded, setting.is_downgraded(qos));
        }
        for turn in 0..10 {
            let message = inbox.next();
            assert_eq!(message.text(), Ok(format!("{qos} {turn}").as_str()));
            assert_eq!(message.qos(), qos.min(granted));
            assert_eq!(message.topic(), setting.topic("each/qos"));
            assert!(!message.is_retained());
        }
    }
    client.disconnect().expect("nothing is open");
}

/// The session learns of it, once, and is not stuck.
fn publication_at_qos_2_is_refused<S: Server>(setting: &Setting<S>) {
    let options = Options { is_not_reconnecting: true, ..Options::default() };
    let client = setting.client_with("refused-qos", options);
    let result = client.try_publish("each/refused", "x", QoS::ExactlyOnce, false);
    match setting.habits.qos2 {
        Qos2::Closes => {
            let is_lost = |error: &PublishError| {
                matches!(error, PublishError::Over(SessionEnd::Link(LinkReason::Lost)))
            };
            assert!(result.as_ref().is_err_and(is_lost), "{result:?}");
        }
        Qos2::Announced => {
            let is_not_offered =
                |error: &PublishError| matches!(error, PublishError::NotOffered(_));
            assert!(result.as_ref().is_err_and(is_not_offered), "{result:?}");
            client.disconnect().expect("nothing is open");
        }
        Qos2::Full | Qos2::PubAck => unreachable!("not refused"),
    }
}

pub(crate) fn message_numbers_rise_and_are_zero_at_qos_0<S: Server>(setting: Setting<S>) {
    let client = setting.client("numbers");
    let mut last = 0;
    for turn in 0..5 {
        assert_eq!(client.publish("numbers", "", QoS::AtMostOnce).number, 0);
        let pending = client.start_publish("numbers", "", setting.publishable(ALL[1 + turn % 2]));
        let number = pending.number();
        assert!(number > last, "{number} after {last}");
        assert_eq!(pending.complete().number, number);
        last = number;
    }
    client.disconnect().expect("nothing is open");
}

/// v5 [MQTT-3.8.4-8], v3.1.1 [MQTT-3.8.4-6].
pub(crate) fn lower_of_published_and_granted_qos_is_delivered<S: Server>(setting: Setting<S>) {
    let client = setting.client("lower-qos");
    for asked in ALL {
        let filter = format!("lower/{asked}");
        let mut inbox = client.subscribe(&filter, asked);
        let granted = setting.granted(asked);
        assert_eq!(inbox.granted(), granted);
        for published in ALL {
            let published = setting.publishable(published);
            client.publish(&filter, "x", published);
            assert_eq!(inbox.next().qos(), published.min(granted));
        }
    }
    client.disconnect().expect("nothing is open");
}

/// v5 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-9], v3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-10].
pub(crate) fn retained_message_reaches_a_late_subscriber_and_is_cleared<S: Server>(
    setting: Setting<S>,
) {
    let client = setting.client("retained");
    client.publish_retained("retained/a", "first", QoS::AtLeastOnce, true);
    client.publish_retained("retained/a", "second", QoS::AtLeastOnce, true);
    let late = setting.client("retained-late");
    let filter = if setting.habits.finds_retained_by_wildcard {
        "retained/#"
    } else {
        no_wildcard_finds_it(&setting, &client);
        "retained/a"
    };
    let mut inbox = late.subscribe(filter, QoS::AtLeastOnce);
    let message = inbox.next();
    assert_eq!((message.text(), message.is_retained()), (Ok("second"), true));
    client.publish_retained("retained/a", "third", QoS::AtLeastOnce, true);
    let message = inbox.next();
    assert_eq!((message.text(), message.is_retained()), (Ok("third"), false));
    client.publish_retained("retained/a", "", QoS::AtLeastOnce, true);
    assert!(inbox.next().payload().expect("a small one").is_empty());

    let later = setting.client("retained-later");
    let mut inbox = later.subscribe(filter, QoS::AtLeastOnce);
    client.publish("retained/a", "fence", QoS::AtLeastOnce);
    assert_eq!(inbox.texts(1), ["fence"]);
}

fn no_wildcard_finds_it<S: Server>(setting: &Setting<S>, client: &Client) {
    let other = setting.client("retained-wildcard");
    let mut inbox = other.subscribe("retained/#", QoS::AtLeastOnce);
    client.publish("retained/fence", "fence", QoS::AtLeastOnce);
    assert_eq!(inbox.texts(1), ["fence"]);
    setting.limits.met("a filter with wildcards finds no retained message");
}

/// v5 [MQTT-3.1.2-5] [MQTT-4.5.0-1], v3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5].
pub(crate) fn offline_messages_reach_a_persistent_session<S: Server>(setting: Setting<S>) {
    let options = Options { is_persistent: true, ..Options::default() };
    let client = setting.client_with("offline", options.clone());
    assert!(!client.session_present());
    let inbox = client.subscribe("offline/+", QoS::ExactlyOnce);
    client.disconnect().expect("nothing is open");
    drop(inbox);

    let other = setting.client("offline-other");
    let mut wanted: Vec<String> = (0..20).map(|turn| turn.to_string()).collect();
    other.publish("offline/a", "loose first", QoS::AtMostOnce);
    for (turn, text) in wanted.iter().enumerate() {
        let qos = setting.publishable(ALL[1 + turn % 2]);
        other.publish("offline/a", text.clone(), qos);
    }
    other.publish("offline/a", "loose last", QoS::AtMostOnce);
    // The end of what was published before.
    other.publish("offline/other", "end", setting.publishable(QoS::ExactlyOnce));
    wanted.push("end".to_owned());
    let loose_wanted: &[&str] = match setting.habits.qos0_offline {
        Qos0Offline::Dropped => &[],
        Qos0Offline::Kept => {
            setting.limits.met("messages at QoS 0 wait for a session that is away");
            &["loose first", "loose last"]
        }
        Qos0Offline::KeptBehindOthers => {
            setting.limits.met("messages at QoS 0 wait for a session that is away behind others");
            &["loose last"]
        }
    };
    let client = setting.client_with("offline", options);
    assert_eq!(client.session_present(), setting.habits.says_session_present);
    // What arrives before the program subscribes again is kept for it.
    let mut inbox = client.subscribe("offline/+", QoS::ExactlyOnce);
    let texts = inbox.texts(wanted.len() + loose_wanted.len());
    // Order is promised for one QoS only.
    let (loose, mut texts): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|text| text.starts_with("loose"));
    assert_eq!(loose, loose_wanted);
    if !setting.habits.keeps_order_offline {
        setting.limits.met("messages that waited come in another order");
        texts.sort();
        wanted.sort();
    }
    assert_eq!(texts, wanted);
    if !setting.habits.says_session_present {
        setting.limits.met("Session Present is 0 although the session is kept");
    }
    other.publish("offline/a", "fence", setting.publishable(QoS::ExactlyOnce));
    assert_eq!(inbox.texts(1), ["fence"]);
    client.unsubscribe_all().expect("subscribed");
    client.disconnect().expect("nothing is open");
}

/// v5 [MQTT-3.1.4-3], v3.1.1 [MQTT-3.1.4-2].
pub(crate) fn second_connection_takes_the_session_over<S: Server>(setting: Setting<S>) {
    let options = Options { is_not_reconnecting: true, ..Options::default() };
    let first = setting.client_with("twin", options);
    let second = setting.client("twin");
    first.wait_for("the session is over", |event| matches!(event, Event::Over(_)));
    let end = first.ended().expect("over");
    let SessionEnd::Link(reason) = end else { panic!("ended by a link, not by {end:?}") };
    let taken_over = ReasonCode::SessionTakenOver;
    let is_told = matches!(reason, LinkReason::Disconnected { reason, .. } if reason == taken_over);
    let must_tell = setting.is_v5() && setting.habits.says_taken_over;
    assert!(is_told || (reason == LinkReason::Lost && !must_tell), "{reason:?}");
    if setting.is_v5() && !must_tell {
        setting.limits.met("a session that is taken over is closed without a DISCONNECT");
    }
    second.publish("twin", "x", setting.publishable(QoS::ExactlyOnce));
}

/// v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8].
pub(crate) fn will_is_published_on_abort<S: Server>(setting: Setting<S>) {
    let watcher = setting.client("will-watcher");
    let mut inbox = watcher.subscribe("will/#", QoS::ExactlyOnce);
    let will = Will::new(setting.topic("will/state"), "lost").qos(QoS::AtLeastOnce).retain(true);
    let options = Options { will: Some(will), is_not_reconnecting: true, ..Options::default() };
    let client = setting.client_with("will", options);
    client.cut();
    let message = inbox.next();
    assert_eq!(
        (message.topic(), message.text()),
        (setting.topic("will/state").as_str(), Ok("lost"))
    );
    assert_eq!(message.qos(), QoS::AtLeastOnce);
    let mut late = watcher.subscribe("will/state", QoS::AtMostOnce);
    assert!(late.next().is_retained());
    watcher.publish_retained("will/state", "", QoS::AtLeastOnce, true);
}

/// v5 [MQTT-3.1.2-10] [MQTT-3.14.4-3], v3.1.1 [MQTT-3.1.2-10] [MQTT-3.14.4-3].
pub(crate) fn will_is_not_published_on_disconnect<S: Server>(setting: Setting<S>) {
    let watcher = setting.client("no-will-watcher");
    let mut inbox = watcher.subscribe("no-will/#", QoS::ExactlyOnce);
    let options = Options {
        will: Some(Will::new(setting.topic("no-will/state"), "lost")),
        ..Options::default()
    };
    let client = setting.client_with("no-will", options);
    client.publish("no-will/last", "bye", QoS::AtLeastOnce);
    client.disconnect().expect("nothing is open");
    watcher.publish("no-will/fence", "fence", QoS::AtLeastOnce);
    assert_eq!(inbox.texts(2), ["bye", "fence"]);
}

/// v5 [MQTT-3.3.4-2] [MQTT-3.3.4-3], v3.1.1 [MQTT-3.3.5-1]: however many copies the broker sends, if it says for which
/// filters they are.
pub(crate) fn overlapping_filters_each_get_one_copy<S: Server>(setting: Setting<S>) {
    let client = setting.client("overlap");
    let mut inboxes = [
        client.subscribe("overlap/#", QoS::ExactlyOnce),
        client.subscribe("overlap/+", QoS::AtLeastOnce),
        client.subscribe("overlap/a", QoS::AtMostOnce),
    ];
    // Of a message that matches all three, and of one that matches the first two.
    let copies = match setting.habits.overlap {
        Overlap::OneEach => [1, 1],
        Overlap::OneAtQos0 => {
            setting
                .limits
                .met("one copy for overlapping filters, at QoS 0 if one of them asks for it");
            [1, 1]
        }
        Overlap::PerFilter => {
            setting.limits.met("a copy for each overlapping filter, not saying for which");
            [3, 2]
        }
        Overlap::PerQueue => {
            setting.limits.met("two copies for overlapping filters of QoS 0 and 1");
            [2, 1]
        }
    };
    let other = setting.client("overlap-other");
    let qos = setting.publishable(QoS::ExactlyOnce);
    for text in ["one", "two", "three"] {
        other.publish("overlap/a", text, qos);
    }
    other.publish("overlap/b", "beside", qos);
    // Copies of QoS 0 and of QoS 1 may pass each other.
    let wanted = |texts: &[&str]| -> Vec<String> {
        let count = |text: &&str| copies[usize::from(*text == "beside")];
        let mut texts: Vec<_> =
            texts.iter().flat_map(|text| vec![(*text).to_owned(); count(text)]).collect();
        if copies != [1, 1] {
            texts.sort();
        }
        texts
    };
    let next = |inbox: &mut Inbox<'_>, wanted: Vec<String>| {
        let messages: Vec<_> = wanted.iter().map(|_| inbox.next()).collect();
        if setting.habits.overlap == Overlap::OneAtQos0 {
            for message in messages.iter().filter(|message| message.text() != Ok("beside")) {
                assert_eq!(message.qos(), QoS::AtMostOnce);
            }
        }
        let mut texts: Vec<_> =
            messages.iter().map(|message| message.text_lossy().expect("a small one")).collect();
        if copies != [1, 1] {
            texts.sort();
        }
        assert_eq!(texts, wanted);
    };
    let [all, level, exact] = &mut inboxes;
    next(all, wanted(&["one", "two", "three", "beside"]));
    next(level, wanted(&["one", "two", "three", "beside"]));
    next(exact, wanted(&["one", "two", "three"]));
    client.unsubscribe_all().expect("subscribed");
    for inbox in &mut inboxes {
        assert!(inbox.rest().is_empty());
    }
}

pub(crate) fn two_streams_on_one_filter_share_it<S: Server>(setting: Setting<S>) {
    let client = setting.client("shared-filter");
    let mut first = client.subscribe("shared/filter", QoS::AtLeastOnce);
    let mut second = client.subscribe("shared/filter", QoS::AtLeastOnce);
    client.publish("shared/filter", "one", QoS::AtLeastOnce);
    client.publish("shared/filter", "two", QoS::AtLeastOnce);
    assert_eq!(first.texts(2), ["one", "two"]);
    assert_eq!(second.texts(2), ["one", "two"]);
    client.unsubscribe("shared/filter").expect("subscribed");
    assert!(first.rest().is_empty());
    assert!(second.rest().is_empty());
}

pub(crate) fn large_payloads_arrive_whole<S: Server>(setting: Setting<S>) {
    let client = setting.client("large");
    let mut inbox = client.subscribe("large/#", QoS::ExactlyOnce);
    for (len, qos) in
        [(1 << 20, QoS::AtMostOnce), (1 << 20, QoS::AtLeastOnce), (16 << 20, QoS::ExactlyOnce)]
    {
        // No period that a lost or doubled piece could hide behind.
        let payload: Bytes = (0..len).map(|at: u32| (at ^ (at >> 7) ^ (at >> 15)) as u8).collect();
        client.publish("large/payload", payload.clone(), setting.publishable(qos));
        let message = inbox.next();
        assert_eq!(message.payload_len(), payload.len());
        assert!(
            message.payload().expect("readable") == payload,
            "the payload of {len} bytes differs"
        );
        let mut read = Vec::new();
        message.reader().read_to_end(&mut read).expect("its file is there");
        assert!(payload == read, "what is read of {len} bytes differs");
    }
    client.disconnect().expect("nothing is open");
}

pub(crate) fn wrong_credentials_are_refused<S: Server>(setting: Setting<S>) {
    let setting = setting.with_user("ann", "hush");
    let refused = [None, Some(("ann", "wrong")), Some(("bob", "hush"))];
    for credentials in refused {
        let options = Options { credentials, ..Options::default() };
        let mut silent_left = if setting.habits.always_says_refused { 0 } else { 20 };
        let error = loop {
            let refused = setting.try_client("credentials", options.clone());
            let error = refused.err().expect("refused");
            if !matches!(error, ConnectError::Closed { .. }) || silent_left == 0 {
                break error;
            }
            silent_left -= 1;
        };
        assert!(matches!(error, ConnectError::Credentials { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "no password in '{error}'");
    }
    let options = Options { credentials: Some(("ann", "hush")), ..Options::default() };
    let client = setting.client_with("credentials", options);
    client.publish("credentials", "x", QoS::AtLeastOnce);
}

/// v5 [MQTT-3.10.4-1] [MQTT-3.10.4-2], v3.1.1 [MQTT-3.10.4-1] [MQTT-3.10.4-2].
pub(crate) fn one_filter_is_unsubscribed<S: Server>(setting: Setting<S>) {
    let client = setting.client("unsubscribe");
    let mut gone = client.subscribe("one/gone", QoS::AtLeastOnce);
    let mut stays = client.subscribe("one/+", QoS::AtLeastOnce);
    client.unsubscribe("one/gone").expect("subscribed");
    client.publish("one/gone", "x", QoS::AtLeastOnce);
    assert!(gone.rest().is_empty());
    assert_eq!(stays.texts(1), ["x"]);
    // Once more is no error.
    client.unsubscribe("one/gone").expect("harmless");
}

/// v5 [MQTT-3.10.4-6], v3.1.1 [MQTT-3.10.4-6].
pub(crate) fn all_filters_are_unsubscribed<S: Server>(setting: Setting<S>) {
    let client = setting.client("unsubscribe-all");
    let qos = setting.publishable(QoS::ExactlyOnce);
    let mut inboxes: Vec<_> = ["all/a", "all/+", "all/#", "other/b"]
        .into_iter()
        .map(|filter| client.subscribe(filter, QoS::ExactlyOnce))
        .collect();
    client.publish("all/a", "before", qos);
    // All three ask for the same QoS.
    let copies = if setting.habits.overlap == Overlap::PerFilter { 3 } else { 1 };
    for inbox in inboxes.iter_mut().take(3) {
        assert_eq!(inbox.texts(copies), vec!["before"; copies]);
    }
    client.unsubscribe_all().expect("subscribed");
    client.publish("all/a", "after", qos);
    client.publish("other/b", "after", qos);
    for inbox in &mut inboxes {
        assert!(inbox.rest().is_empty());
    }
    let mut fence = client.subscribe("fence", QoS::ExactlyOnce);
    client.publish("fence", "fence", qos);
    assert_eq!(fence.texts(1), ["fence"]);
    client.unsubscribe_all().expect("subscribed");
    client.unsubscribe_all().expect("nothing is subscribed");
}

pub(crate) fn disconnect_flushes_and_is_final<S: Server>(setting: Setting<S>) {
    let watcher = setting.client("flush-watcher");
    let mut inbox = watcher.subscribe("flush", QoS::ExactlyOnce);
    let client = setting.client("flush");
    let mut own = client.subscribe("nothing", QoS::AtMostOnce);
    let wanted: Vec<String> = (0..200).map(|turn| turn.to_string()).collect();
    let pending: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(turn, text)| {
            client.start_publish("flush", text, setting.publishable(ALL[1 + turn % 2]))
        })
        .collect();
    client.disconnect().expect("all is confirmed");
    for pending in pending {
        pending.complete();
    }
    assert!(own.rest().is_empty());
    let mut texts = inbox.texts(wanted.len());
    // Messages of one QoS keep their order; QoS 1 may pass QoS 2.
    texts.sort_by_key(|text| text.parse::<u32>().expect("a number"));
    assert_eq!(texts, wanted);
    assert_eq!(client.ended(), Some(SessionEnd::Disconnected));
    client.disconnect().expect("a second call does nothing");
}

pub(crate) fn verbs_work_inside_a_callback<S: Server>(setting: Setting<S>) {
    let client = setting.client("inside");
    let mut answers = client.subscribe("inside/answer", QoS::ExactlyOnce);
    let qos = setting.publishable(QoS::ExactlyOnce);
    client.answer("inside/question", "inside/answer", qos);
    for text in ["one", "two", "three"] {
        client.publish("inside/question", text, qos);
    }
    assert_eq!(answers.texts(3), ["re: one", "re: two", "re: three"]);
    client.disconnect().expect("nothing is open");
}
