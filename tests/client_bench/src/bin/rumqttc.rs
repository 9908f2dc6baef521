//! rumqttc: one thread for the program and the event loop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use postrider_client_bench::{Arrivals, Meter, Plan, TOPIC, Traffic, resident_kib};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::{spawn, sync::Semaphore};

/// Requests between program and event loop.
const CHANNEL: usize = 100;

/// The program and the event loop are tasks: what runs in `block_on` costs a look for events at each wake-up.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    spawn(run()).await?
}

async fn run() -> Result<()> {
    match Plan::of_arguments()? {
        Plan::Publish(traffic) => publish(traffic).await,
        Plan::Receive(traffic) => receive(traffic).await,
        Plan::Idle { port, sessions } => idle(port, sessions).await,
    }
}

fn open(port: u16, id: &str, window: usize) -> Result<(AsyncClient, EventLoop)> {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_max_packet_size(2 << 20, 2 << 20);
    options.set_inflight(u16::try_from(window)?);
    let (client, mut events) = AsyncClient::new(options, CHANNEL);
    events.network_options.set_tcp_nodelay(true);
    Ok((client, events))
}

async fn publish(traffic: Traffic) -> Result<()> {
    let (client, mut events) = open(traffic.port, "bench-rumqttc", traffic.window)?;
    let meter = Arc::new(Mutex::new(Meter::new(traffic.warm_up())?));
    let window = Arc::new(Semaphore::new(traffic.window));
    let driver = {
        let (meter, window) = (Arc::clone(&meter), Arc::clone(&window));
        spawn(async move {
            // At QoS 0 the one acknowledgement is that of the last message.
            let last = if traffic.qos == 0 { 1 } else { traffic.total() };
            let mut acknowledged = 0;
            while acknowledged < last {
                if let Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) =
                    events.poll().await?
                {
                    acknowledged += 1;
                    if traffic.qos > 0 {
                        lock(&meter).complete();
                        window.add_permits(1);
                    }
                }
            }
            anyhow::Ok(())
        })
    };
    let payload = Bytes::from(vec![b'x'; traffic.size]);
    let qos = qos(traffic.qos)?;
    for _ in 0..traffic.total() {
        if traffic.qos > 0 {
            window.acquire().await?.forget();
            lock(&meter).begin();
        }
        client.publish_bytes(TOPIC, qos, false, payload.clone()).await?;
        if traffic.qos == 0 {
            lock(&meter).count();
        }
    }
    if traffic.qos == 0 {
        client.publish_bytes("bench/end", QoS::AtLeastOnce, false, Bytes::new()).await?;
    }
    driver.await??;
    lock(&meter).report()
}

fn lock(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(traffic: Traffic) -> Result<()> {
    let (client, mut events) = open(traffic.port, "bench-rumqttc", traffic.window)?;
    client.subscribe(TOPIC, qos(traffic.qos)?).await?;
    let mut meter = Meter::new(traffic.warm_up())?;
    let mut arrivals = Arrivals::default();
    while meter.done() < traffic.total() {
        match events.poll().await? {
            Event::Incoming(Packet::SubAck(_)) => arrivals.ready()?,
            Event::Incoming(Packet::Publish(publish)) => {
                if publish.payload.len() != traffic.size {
                    bail!("a payload of {} bytes", publish.payload.len());
                }
                meter.count();
                arrivals.count()?;
            }
            _ => {}
        }
    }
    meter.report()
}

async fn idle(port: u16, sessions: usize) -> Result<()> {
    let before = resident_kib()?;
    let mut clients = Vec::new();
    for at in 0..sessions {
        let (client, mut events) = open(port, &format!("bench-rumqttc-{at}"), 100)?;
        while !matches!(events.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
        clients.push(client);
        spawn(async move { while events.poll().await.is_ok() {} });
    }
    eprintln!("kib={}", resident_kib()?.saturating_sub(before));
    Ok(())
}

fn qos(level: u8) -> Result<QoS> {
    rumqttc::qos(level).ok().context("a QoS is 0 to 2")
}
