//! A message on its way, and SIGKILL at one of its ends: it arrives whole, and once.

use std::fs;

use crate::{
    Place,
    process::Running,
    proxy::{Gate, Proxy},
};

const LEN: u64 = 8 << 20;
/// Where the message is cut.
const HALF: usize = 3 << 20;

/// Who is killed, and what it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    PublisherSpooling,
    PublisherSending,
    BrokerReceiving,
    BrokerDelivering,
    SubscriberReceiving,
}

/// v5 [MQTT-4.1.0-1, MQTT-4.3.3-1], v3.1.1 [MQTT-4.1.0-1, MQTT-4.3.3-1].
pub(crate) fn all() {
    for kill in [
        Kill::PublisherSpooling,
        Kill::PublisherSending,
        Kill::BrokerReceiving,
        Kill::BrokerDelivering,
        Kill::SubscriberReceiving,
    ] {
        survives(kill);
        println!("{kill:?}: whole, and once");
    }
}

fn survives(kill: Kill) {
    let place = Place::new(LEN).unwrap();
    let store = |name| place.path(name).to_str().unwrap().to_owned();
    let (mut broker, at) = Running::broker(&place.path("broker"));
    let (near, far) = (Proxy::new(&at), Proxy::new(&at));
    let words = [far.url.as_str(), &store("subscriber")];
    let mut subscriber = Running::role("subscribe", &words);
    subscriber.says("subscribed");
    match kill {
        Kill::PublisherSending | Kill::BrokerReceiving => near.up.limit(HALF),
        Kill::BrokerDelivering | Kill::SubscriberReceiving => far.down.limit(HALF),
        Kill::PublisherSpooling => {}
    }
    let (length, payload) = (LEN.to_string(), store("payload"));
    let source = if kill == Kill::PublisherSpooling { &length } else { &payload };
    let mut publisher = Running::role("publish", &[near.url.as_str(), &store("publisher"), source]);
    let again =
        || Running::role("publish", &[near.url.as_str(), &store("publisher"), &store("payload")]);
    match kill {
        Kill::PublisherSpooling => {
            publisher.feed(&fs::read(&payload).unwrap()[..HALF]);
            while place.spools("publisher").iter().sum::<u64>() < 1 << 20 {
                std::thread::yield_now();
            }
            publisher.kill();
            assert_eq!(place.spools("publisher").len(), 1);
            publisher = again();
            publisher.says("stored after");
        }
        Kill::PublisherSending => {
            publisher.says("stored");
            near.up.wait_until_shut();
            publisher.kill();
            near.up.open();
            publisher = again();
            publisher.says("stored before");
        }
        Kill::BrokerReceiving | Kill::BrokerDelivering => {
            publisher.says("stored");
            let gate = if kill == Kill::BrokerReceiving { &near.up } else { &far.down };
            broker = restart(broker, &place, gate, [&near, &far]);
        }
        Kill::SubscriberReceiving => {
            publisher.says("stored");
            far.down.wait_until_shut();
            subscriber.kill();
            far.down.open();
            subscriber = Running::role("subscribe", &words);
            subscriber.says("subscribed");
        }
    }
    publisher.says("complete");
    subscriber.says(&place.sha256);
    subscriber.says("end");
    publisher.says("peak");
    subscriber.says("peak");
    drop((publisher, subscriber));
    // Nothing is left of it.
    assert_eq!((place.spools("publisher"), place.spools("subscriber")), (vec![], vec![]));
    while !place.spools("broker").is_empty() {
        std::thread::yield_now();
    }
    drop(broker);
}

/// Kills the broker in the middle of the message and starts another one.
fn restart(broker: Running, place: &Place, gate: &Gate, proxies: [&Proxy; 2]) -> Running {
    gate.wait_until_shut();
    broker.kill();
    let (broker, at) = Running::broker(&place.path("broker"));
    proxies.into_iter().for_each(|proxy| proxy.redirect(&at));
    gate.open();
    broker
}
