//! What messages at QoS 0 ask of the allocator once a session is warm: nothing for each of them. What arrives lies in the
//! buffers that it was read into, many messages in one; and the same buffers are read into again. And what a session has
//! while there is nothing to do.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod peer;

use std::{alloc::System, sync::mpsc, thread};

use postrider::{Builder, Bytes, Protocol, QoS, Session, Subscription, Topic, blocking};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime;

use self::peer::{BUSY, IDLE, NARROW, Peer, TOPIC, builder};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WARM_UP: usize = 10_000;
const MESSAGES: usize = 10_000;
/// Allocations for all of them, a few of which come late on a busy machine: buffers that grow.
const ALLOCATIONS_MAX: usize = 100;
/// Payload of messages of which few fit into one buffer.
const LARGE_LEN: usize = 16 * 1024;
const LARGE_MESSAGES: usize = 1_000;
/// Bytes allocated for all of them: the program takes its messages before the next read, so buffers are free again.
const LARGE_BYTES_MAX: usize = 3 * 64 * 1024;

/// What is published, and through what: a pipe that takes it all, and one that is mostly full.
const PUBLISHED: [Traffic; 4] = [
    Traffic { count: MESSAGES, len: 64, pipe: BUSY },
    Traffic { count: MESSAGES, len: 64, pipe: NARROW },
    Traffic { count: LARGE_MESSAGES, len: LARGE_LEN, pipe: BUSY },
    Traffic { count: LARGE_MESSAGES, len: LARGE_LEN, pipe: NARROW },
];

/// Sessions with nothing to do, and what each has of the allocator, with both ends of its pipe and without the stacks of
/// threads. The blocking face has a runtime for each, of which most is the wheel of tokio's timers.
const IDLE_SESSIONS: usize = 100;
const IDLE_BYTES_MAX: usize = 13 * 1024;
const IDLE_BYTES_MAX_BLOCKING: usize = 24 * 1024;

#[derive(Clone, Copy, Debug)]
struct Traffic {
    /// Messages, after as many to warm up.
    count: usize,
    /// Bytes of a payload.
    len: usize,
    /// Bytes of the pipe.
    pipe: usize,
}

impl Traffic {
    fn payload(self) -> Bytes {
        let payload = Bytes::from(vec![b'x'; self.len]);
        // Its first clone allocates.
        payload.clone()
    }
}

/// One test, since the allocator counts for the whole process.
#[test]
fn messages_at_qos_0_are_not_allocated_one_by_one_and_idle_sessions_are_small() {
    // Those of the blocking face end in the background, and so come behind the others.
    for version in [Protocol::V311, Protocol::V5] {
        runtime().block_on(async_idlers(version));
    }
    blocking_idlers(Protocol::V5);
    for version in [Protocol::V311, Protocol::V5] {
        let local = runtime();
        for traffic in PUBLISHED {
            local.block_on(async_publisher(version, traffic));
            blocking_publisher(version, traffic);
        }
        local.block_on(async_subscriber(version));
        blocking_subscriber(version);
    }
}

async fn async_idlers(version: Protocol) {
    // What all sessions share is there after the first one.
    let first = connect(version, IDLE).await;
    let mut sessions = Vec::with_capacity(IDLE_SESSIONS);
    let region = Region::new(ALLOCATOR);
    for _ in 0..IDLE_SESSIONS {
        sessions.push(connect(version, IDLE).await);
    }
    check_idle(&region, IDLE_BYTES_MAX, "async", version);
    drop((first, sessions));
}

fn blocking_idlers(version: Protocol) {
    let (sender, arrivals) = mpsc::channel();
    let server = thread::spawn(move || {
        let local = runtime();
        // Kept until the last session is there.
        let _peers: Vec<Peer> =
            arrivals.iter().map(|arrival| local.block_on(Peer::accept(arrival, version))).collect();
    });
    let connect = || {
        let builder = blocking::Session::builder("mqtt://peer", "me");
        let (builder, arrivals) = self::builder(builder, version, IDLE);
        sender.send(arrivals).unwrap();
        builder.connect().unwrap()
    };
    let first = connect();
    let mut sessions = Vec::with_capacity(IDLE_SESSIONS);
    let region = Region::new(ALLOCATOR);
    for _ in 0..IDLE_SESSIONS {
        sessions.push(connect());
    }
    check_idle(&region, IDLE_BYTES_MAX_BLOCKING, "blocking", version);
    drop(sender);
    server.join().unwrap();
    drop((first, sessions));
}

async fn async_publisher(version: Protocol, traffic: Traffic) {
    let (session, mut peer) = connect(version, traffic.pipe).await;
    let reader = tokio::spawn(async move { peer.read_to_end().await });
    let (topic, payload) = (Topic::new(TOPIC).unwrap(), traffic.payload());
    let publish = async |count| {
        for _ in 0..count {
            session.publish(&topic, &payload).await.unwrap();
        }
    };
    publish(traffic.count).await;
    let region = Region::new(ALLOCATOR);
    publish(traffic.count).await;
    check(&region, traffic.count, "published, async", version);
    session.disconnect().await.unwrap();
    reader.await.unwrap();
}

async fn async_subscriber(version: Protocol) {
    let (session, mut peer) = connect(version, BUSY).await;
    let (messages, ()) =
        tokio::join!(async { session.subscribe(TOPIC, QoS::AtMostOnce).await }, peer.grant());
    peer.set_payload_len(64);
    let mut messages = messages.unwrap();
    receive(&mut messages, &mut peer, WARM_UP, 64).await;
    let region = Region::new(ALLOCATOR);
    receive(&mut messages, &mut peer, MESSAGES, 64).await;
    check(&region, MESSAGES, "received, async", version);
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

fn blocking_publisher(version: Protocol, traffic: Traffic) {
    let (builder, arrivals) =
        builder(blocking::Session::builder("mqtt://peer", "me"), version, traffic.pipe);
    let reader = thread::spawn(move || {
        runtime().block_on(async {
            let mut peer = Peer::accept(arrivals, version).await;
            peer.read_to_end().await;
        });
    });
    let session = builder.connect().unwrap();
    let (topic, payload) = (Topic::new(TOPIC).unwrap(), traffic.payload());
    let publish = |count| {
        for _ in 0..count {
            session.publish(&topic, &payload).wait().unwrap();
        }
    };
    publish(traffic.count);
    let region = Region::new(ALLOCATOR);
    publish(traffic.count);
    check(&region, traffic.count, "published, blocking", version);
    session.disconnect().unwrap();
    reader.join().unwrap();
}

fn blocking_subscriber(version: Protocol) {
    let (builder, arrivals) =
        builder(blocking::Session::builder("mqtt://peer", "me"), version, BUSY);
    let (go, gone) = mpsc::channel::<usize>();
    let writer = thread::spawn(move || {
        let local = runtime();
        let mut peer = local.block_on(Peer::accept(arrivals, version));
        local.block_on(peer.grant());
        peer.set_payload_len(64);
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
    check(&region, MESSAGES, "received, blocking", version);
    drop(go);
    writer.join().unwrap();
}

async fn connect(version: Protocol, pipe: usize) -> (Session, Peer) {
    let (builder, arrivals): (Builder, _) =
        builder(Session::builder("mqtt://peer", "me"), version, pipe);
    let (session, peer) = tokio::join!(builder.connect(), Peer::accept(arrivals, version));
    (session.unwrap(), peer)
}

fn check(region: &Region<'_, System>, messages: usize, what: &str, version: Protocol) {
    let change = region.change();
    let count = change.allocations + change.reallocations;
    assert!(
        count <= ALLOCATIONS_MAX,
        "{count} allocations for {messages} messages {what}, {version:?}"
    );
}

fn check_idle(region: &Region<'_, System>, bytes_max: usize, what: &str, version: Protocol) {
    let change = region.change();
    let bytes = (change.bytes_allocated - change.bytes_deallocated) / IDLE_SESSIONS;
    assert!(bytes <= bytes_max, "{bytes} bytes for each idle session, {what}, {version:?}");
}

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
