//! rumqttc at 3.1.1.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, bail};
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode,
};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    inbox::Inbox,
    message::Message,
    peer::{Client, Setup},
    rumqttc_5::RUNTIME,
};

struct Rumqttc {
    client: AsyncClient,
    driver: JoinHandle<()>,
    runtime: Handle,
}

/// Starts to connect.
pub fn connect(setup: &Setup, port: u16, inbox: Arc<Inbox>) -> Result<Box<dyn Client>> {
    let mut options = MqttOptions::new(&setup.id, "127.0.0.1", port);
    options.set_clean_session(!setup.keeps_session);
    options.set_max_packet_size(2 << 20, 2 << 20);
    if let Some(will) = &setup.will {
        let qos = qos(will.qos)?;
        options.set_last_will(LastWill::new(&will.topic, will.payload.clone(), qos, will.retain));
    }
    let (client, mut events) = AsyncClient::new(options, 100);
    // Without it, small packets wait for the other side's delayed acknowledgement of TCP.
    events.network_options.set_tcp_nodelay(true);
    let driver = RUNTIME.spawn(drive(events, inbox));
    Ok(Box::new(Rumqttc { client, driver, runtime: RUNTIME.handle().clone() }))
}

/// Runs the connection to its end; rumqttc would connect again if it were polled once more.
///
/// A QoS 2 message counts when its PUBREL has come: a session that is left before has to be taken up with the memory
/// of it, which rumqttc does not keep.
async fn drive(mut events: EventLoop, inbox: Arc<Inbox>) {
    let mut held = BTreeMap::new();
    loop {
        let event = match events.poll().await {
            Ok(event) => event,
            Err(error) => return inbox.change(|state| state.ended = Some(error.to_string())),
        };
        let Event::Incoming(packet) = event else { continue };
        inbox.change(|state| match packet {
            Packet::ConnAck(connack) => state.resumed = Some(connack.session_present),
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                held.insert(publish.pkid, message(publish));
            }
            Packet::Publish(publish) => state.messages.push(message(publish)),
            Packet::PubRel(pubrel) => state.messages.extend(held.remove(&pubrel.pkid)),
            Packet::SubAck(suback) => state.granted.extend(suback.return_codes.iter().map(code)),
            Packet::UnsubAck(_) => state.unsubscribed += 1,
            Packet::PubAck(_) | Packet::PubComp(_) => state.completed += 1,
            _ => {}
        });
    }
}

fn message(publish: Publish) -> Message {
    Message {
        topic: publish.topic,
        payload: publish.payload.to_vec(),
        qos: publish.qos as u8,
        retain: publish.retain,
        ..Message::default()
    }
}

impl Client for Rumqttc {
    fn subscribe(&self, filter: &str, level: u8, id: Option<u32>) -> Result<()> {
        if id.is_some() {
            bail!("3.1.1 has no subscription identifiers");
        }
        Ok(self.runtime.block_on(self.client.subscribe(filter, qos(level)?))?)
    }

    fn unsubscribe(&self, filter: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.unsubscribe(filter))?)
    }

    fn publish(&self, message: &Message) -> Result<()> {
        let Message { topic, payload, retain, .. } = message;
        let publish = self.client.publish(topic, qos(message.qos)?, *retain, payload.clone());
        Ok(self.runtime.block_on(publish)?)
    }

    fn disconnect(&self) -> Result<()> {
        Ok(self.runtime.block_on(self.client.disconnect())?)
    }
}

impl Drop for Rumqttc {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn qos(level: u8) -> Result<QoS> {
    rumqttc::qos(level).ok().context("a QoS is 0 to 2")
}

const fn code(code: &SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::Failure => 0x80,
    }
}
