//! paho-mqtt, the wrapper around Paho's C library, which has threads of its own.

use std::{
    collections::VecDeque,
    sync::{Mutex, mpsc},
    time::Duration,
};

use anyhow::{Context, Result};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message, MqttVersion, PersistenceType,
};
use postrider_client_bench::{Arrivals, Meter, Plan, TOPIC, Traffic, resident_kib};

/// How long anything may take.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// At QoS 0 a token is complete when the message is handed to the system.
const QOS0_WINDOW: usize = 100;

fn main() -> Result<()> {
    match Plan::of_arguments()? {
        Plan::Publish(traffic) => publish(traffic),
        Plan::Receive(traffic) => receive(traffic),
        Plan::Idle { port, sessions } => idle(port, sessions),
    }
}

fn open(port: u16, id: &str) -> Result<AsyncClient> {
    let options = CreateOptionsBuilder::new()
        .server_uri(format!("tcp://127.0.0.1:{port}"))
        .client_id(id)
        .mqtt_version(MqttVersion::V3_1_1)
        .persistence(PersistenceType::None)
        .max_buffered_messages(10_000)
        .finalize();
    Ok(AsyncClient::new(options)?)
}

fn connect(client: &AsyncClient, window: usize) -> Result<()> {
    let mut options = ConnectOptionsBuilder::with_mqtt_version(MqttVersion::V3_1_1);
    options.clean_session(true).keep_alive_interval(Duration::from_secs(60));
    options.max_inflight(i32::try_from(window.max(QOS0_WINDOW))?);
    client.connect(options.finalize()).wait_for(WAIT_MAX)?;
    Ok(())
}

fn publish(traffic: Traffic) -> Result<()> {
    let client = open(traffic.port, "bench-paho")?;
    connect(&client, traffic.window)?;
    let mut meter = Meter::new(traffic.warm_up())?;
    let window = if traffic.qos == 0 { QOS0_WINDOW } else { traffic.window };
    let payload = vec![b'x'; traffic.size];
    let mut open = VecDeque::with_capacity(window);
    for _ in 0..traffic.total() {
        if open.len() == window {
            finish(open.pop_front(), &mut meter)?;
        }
        meter.begin();
        open.push_back(client.publish(Message::new(TOPIC, &payload[..], i32::from(traffic.qos))));
    }
    while !open.is_empty() {
        finish(open.pop_front(), &mut meter)?;
    }
    if traffic.qos == 0 {
        client.publish(Message::new("bench/end", "", 1)).wait_for(WAIT_MAX)?;
    }
    meter.report()?;
    client.disconnect(None).wait_for(WAIT_MAX)?;
    Ok(())
}

fn finish(token: Option<paho_mqtt::DeliveryToken>, meter: &mut Meter) -> Result<()> {
    token.context("none is open")?.wait_for(WAIT_MAX)?;
    meter.complete();
    Ok(())
}

fn receive(traffic: Traffic) -> Result<()> {
    let client = open(traffic.port, "bench-paho")?;
    let (done, is_done) = mpsc::channel();
    let state = Mutex::new((Meter::new(traffic.warm_up())?, Arrivals::default()));
    client.set_message_callback(move |_, message| {
        let Some(message) = message else { return };
        assert_eq!(message.payload().len(), traffic.size);
        let Ok(mut state) = state.lock() else { return };
        let (meter, arrivals) = &mut *state;
        meter.count();
        let is_told = arrivals.count().is_ok();
        if meter.done() == traffic.total() || !is_told {
            // The receiver is gone only if this came twice.
            let _ = done.send(meter.report());
        }
    });
    connect(&client, traffic.window)?;
    client.subscribe(TOPIC, i32::from(traffic.qos)).wait_for(WAIT_MAX)?;
    Arrivals::default().ready()?;
    is_done.recv()??;
    client.disconnect(None).wait_for(WAIT_MAX)?;
    Ok(())
}

fn idle(port: u16, sessions: usize) -> Result<()> {
    let before = resident_kib()?;
    let mut clients = Vec::new();
    for at in 0..sessions {
        let client = open(port, &format!("bench-paho-{at}"))?;
        connect(&client, 100)?;
        clients.push(client);
    }
    eprintln!("kib={}", resident_kib()?.saturating_sub(before));
    // Dropping many clients takes the library minutes.
    std::process::exit(0)
}
