//! What messages at QoS 0 ask of the allocator once a session is warm: nothing for each of them. What arrives lies in the
//! buffers that it was read into, many messages in one; and the same buffers are read into again.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod peer;

use std::{alloc::System, sync::mpsc, thread};

use postrider::{Builder, Bytes, Protocol, QoS, Session, Subscription, Topic, blocking};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime;

use self::peer::{Peer, TOPIC, builder};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WARM_UP: usize = 10_000;
const MESSAGES: usize = 10_000;
/// Allocations for all of them.
const ALLOCATIONS_MAX: usize = MESSAGES / 100;
/// Payload of messages of which few fit into one buffer.
const LARGE_LEN: usize = 16 * 1024;
const LARGE_MESSAGES: usize = 1_000;
/// Bytes allocated for all of them: the program takes its messages before the next read, so buffers are free again.
const LARGE_BYTES_MAX: usize = 3 * 64 * 1024;

/// One test, since the allocator counts for the whole process.
#[test]
fn messages_at_qos_0_are_not_allocated_one_by_one() {
    for version in [Protocol::V311, Protocol::V5] {
        let local = runtime();
        local.block_on(async_publisher(version));
        local.block_on(async_subscriber(version));
        blocking_publisher(version);
        blocking_subscriber(version);
    }
}

async fn async_publisher(version: Protocol) {
    let (session, mut peer) = connect(version).await;
    let reader = tokio::spawn(async move { peer.read_to_end().await });
    let (topic, payload) = (Topic::new(TOPIC).unwrap(), Bytes::from_static(&[b'x'; 64]));
    let publish = async |count| {
        for _ in 0..count {
            session.publish(&topic, &payload).await.unwrap();
        }
    };
    publish(WARM_UP).await;
    let region = Region::new(ALLOCATOR);
    publish(MESSAGES).await;
    check(&region, "published, async", version);
    session.disconnect().await.unwrap();
    reader.await.unwrap();
}

async fn async_subscriber(version: Protocol) {
    let (session, mut peer) = connect(version).await;
    let (messages, ()) =
        tokio::join!(async { session.subscribe(TOPIC, QoS::AtMostOnce).await }, peer.grant());
    let mut messages = messages.unwrap();
    receive(&mut messages, &mut peer, WARM_UP, 64).await;
    let region = Region::new(ALLOCATOR);
    receive(&mut messages, &mut peer, MESSAGES, 64).await;
    check(&region, "received, async", version);
    peer.set_payload_len(LARGE_LEN);
    receive(&mut messages, &mut peer, LARGE_MESSAGES, LARGE_LEN).await;
    let region = Region::new(ALLOCATOR);
    receive(&mut messages, &mut peer, LARGE_MESSAGES, LARGE_LEN).await;
    let bytes = region.change().bytes_allocated;
    assert!(bytes <= LARGE_BYTES_MAX, "{bytes} bytes of buffers for large messages, {version:?}");
}

async fn receive(messages: &mut Subscription, peer: &mut Peer, count: usize, len: usize) {
    let read = async {
        for _ in 0..count {
            assert_eq!(messages.next().await.unwrap().payload_len(), len);
        }
    };
    tokio::join!(read, peer.publish(count));
}

fn blocking_publisher(version: Protocol) {
    let (builder, arrivals) = builder(blocking::Session::builder("mqtt://peer", "me"), version);
    let reader = thread::spawn(move || {
        runtime().block_on(async {
            let mut peer = Peer::accept(arrivals, version).await;
            peer.read_to_end().await;
        });
    });
    let session = builder.connect().unwrap();
    let (topic, payload) = (Topic::new(TOPIC).unwrap(), Bytes::from_static(&[b'x'; 64]));
    let publish = |count| {
        for _ in 0..count {
            session.publish(&topic, &payload).wait().unwrap();
        }
    };
    publish(WARM_UP);
    let region = Region::new(ALLOCATOR);
    publish(MESSAGES);
    check(&region, "published, blocking", version);
    session.disconnect().unwrap();
    reader.join().unwrap();
}

fn blocking_subscriber(version: Protocol) {
    let (builder, arrivals) = builder(blocking::Session::builder("mqtt://peer", "me"), version);
    let (go, gone) = mpsc::channel::<usize>();
    let writer = thread::spawn(move || {
        let local = runtime();
        let mut peer = local.block_on(Peer::accept(arrivals, version));
        local.block_on(peer.grant());
        for count in gone {
            local.block_on(peer.publish(count));
        }
    });
    let session = builder.connect().unwrap();
    let (done, is_done) = mpsc::channel();
    let mut count = 0;
    session
        .subscribe(TOPIC, QoS::AtMostOnce, move |_, message| {
            assert_eq!(message.payload_len(), 64);
            count += 1;
            if count == WARM_UP || count == WARM_UP + MESSAGES {
                done.send(()).unwrap();
            }
        })
        .unwrap();
    go.send(WARM_UP).unwrap();
    is_done.recv().unwrap();
    let region = Region::new(ALLOCATOR);
    go.send(MESSAGES).unwrap();
    is_done.recv().unwrap();
    check(&region, "received, blocking", version);
    drop(go);
    writer.join().unwrap();
}

async fn connect(version: Protocol) -> (Session, Peer) {
    let (builder, arrivals): (Builder, _) = builder(Session::builder("mqtt://peer", "me"), version);
    let (session, peer) = tokio::join!(builder.connect(), Peer::accept(arrivals, version));
    (session.unwrap(), peer)
}

fn check(region: &Region<'_, System>, what: &str, version: Protocol) {
    let change = region.change();
    let count = change.allocations + change.reallocations;
    assert!(
        count <= ALLOCATIONS_MAX,
        "{count} allocations for {MESSAGES} messages {what}, {version:?}"
    );
}

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
