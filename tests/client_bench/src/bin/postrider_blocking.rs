//! Postrider's blocking face: driven by the program's thread while it waits.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use postrider::{
    Bytes, Protocol, QoS, Topic,
    blocking::{Receipt, Session},
};
use postrider_client_bench::{Arrivals, Meter, Plan, TOPIC, Traffic, resident_kib};

fn main() -> Result<()> {
    match Plan::of_arguments()? {
        Plan::Publish(traffic) => publish(traffic),
        Plan::Receive(traffic) => receive(traffic),
        Plan::Idle { port, sessions } => idle(port, sessions),
    }
}

fn open(port: u16, id: &str, window: usize) -> Result<Session> {
    let builder = Session::builder(format!("mqtt://127.0.0.1:{port}"), id);
    let builder = builder.version(Protocol::V311).in_flight_max(u16::try_from(window)?);
    Ok(builder.connect()?)
}

fn publish(traffic: Traffic) -> Result<()> {
    let session = open(traffic.port, "bench-blocking", traffic.window)?;
    let mut meter = Meter::new(traffic.warm_up())?;
    let topic = Topic::new(TOPIC)?;
    let payload = Bytes::from(vec![b'x'; traffic.size]);
    let qos = qos(traffic.qos)?;
    let mut open: VecDeque<Receipt> = VecDeque::with_capacity(traffic.window);
    for _ in 0..traffic.total() {
        if traffic.qos == 0 {
            session.publish(&topic, &payload).wait()?;
            meter.count();
            continue;
        }
        if open.len() == traffic.window {
            finish(open.pop_front(), &mut meter)?;
        }
        meter.begin();
        open.push_back(session.publish(&topic, &payload).qos(qos).receipt()?);
    }
    while !open.is_empty() {
        finish(open.pop_front(), &mut meter)?;
    }
    if traffic.qos == 0 {
        session.publish("bench/end", "").qos(QoS::AtLeastOnce).wait()?;
    }
    meter.report()?;
    session.disconnect()?;
    Ok(())
}

fn finish(receipt: Option<Receipt>, meter: &mut Meter) -> Result<()> {
    receipt.context("none is open")?.wait()?;
    meter.complete();
    Ok(())
}

fn receive(traffic: Traffic) -> Result<()> {
    let session = open(traffic.port, "bench-blocking", traffic.window)?;
    let mut messages = session.subscribe_with(TOPIC, qos(traffic.qos)?).open()?;
    let mut meter = Meter::new(traffic.warm_up())?;
    let mut arrivals = Arrivals::default();
    arrivals.ready()?;
    while meter.done() < traffic.total() {
        let message = messages.next().context("the subscription has ended")?;
        if message.payload_len() != traffic.size {
            bail!("a payload of {} bytes", message.payload_len());
        }
        meter.count();
        arrivals.count()?;
    }
    meter.report()?;
    session.disconnect()?;
    Ok(())
}

fn idle(port: u16, sessions: usize) -> Result<()> {
    let before = resident_kib()?;
    let mut open_sessions = Vec::new();
    for at in 0..sessions {
        open_sessions.push(open(port, &format!("bench-blocking-{at}"), 100)?);
    }
    eprintln!("kib={}", resident_kib()?.saturating_sub(before));
    Ok(())
}

fn qos(level: u8) -> Result<QoS> {
    QoS::from_bits(level).context("a QoS is 0 to 2")
}
