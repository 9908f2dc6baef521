//! rumqttc at 5.0.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use anyhow::{Context, Result};
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{
        self, QoS,
        v5::{
            ConnectProperties, LastWill, LastWillProperties, Packet, Publish, PublishProperties,
            SubscribeProperties, SubscribeReasonCode,
        },
    },
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

use crate::{
    inbox::Inbox,
    message::{Message, Properties},
    peer::{Client, Setup},
};

/// For all clients of both versions.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
});

struct Rumqttc {
    client: AsyncClient,
    driver: JoinHandle<()>,
    runtime: Handle,
}

/// Starts to connect.
pub fn connect(setup: &Setup, port: u16, inbox: Arc<Inbox>) -> Result<Box<dyn Client>> {
    let mut options = MqttOptions::new(&setup.id, "127.0.0.1", port);
    options.set_clean_start(!setup.keeps_session);
    let expiry = setup.expiry.unwrap_or(if setup.keeps_session { 3600 } else { 0 });
    options.set_connect_properties(ConnectProperties {
        session_expiry_interval: Some(expiry),
        max_packet_size: Some(2 << 20),
        ..ConnectProperties::new()
    });
    if let Some(will) = &setup.will {
        let properties = will.properties.clone();
        let properties = LastWillProperties {
            delay_interval: None,
            payload_format_indicator: properties.format,
            message_expiry_interval: properties.expiry,
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation.map(Into::into),
            user_properties: properties.user,
        };
        let (topic, payload) = (will.topic.clone(), will.payload.clone());
        let qos = qos(will.qos)?;
        options.set_last_will(LastWill::new(topic, payload, qos, will.retain, Some(properties)));
    }
    // Without it, small packets wait for the other side's delayed acknowledgement of TCP.
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, events) = AsyncClient::new(options, 100);
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
            Packet::ConnAck(connack) => {
                state.resumed = Some(connack.session_present);
                state.assigned_id =
                    connack.properties.and_then(|found| found.assigned_client_identifier);
            }
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
    let properties = publish.properties.unwrap_or_default();
    let ids = properties.subscription_identifiers.iter();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.to_vec(),
        qos: publish.qos as u8,
        retain: publish.retain,
        properties: Properties {
            format: properties.payload_format_indicator,
            expiry: properties.message_expiry_interval,
            subscription_ids: ids.map(|&id| u32::try_from(id).unwrap_or(0)).collect(),
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation: properties.correlation_data.map(|data| data.to_vec()),
            user: properties.user_properties,
        },
    }
}

impl Client for Rumqttc {
    fn subscribe(&self, filter: &str, level: u8, id: Option<u32>) -> Result<()> {
        let qos = qos(level)?;
        let Some(id) = id else {
            return Ok(self.runtime.block_on(self.client.subscribe(filter, qos))?);
        };
        let properties =
            SubscribeProperties { id: Some(usize::try_from(id)?), user_properties: Vec::new() };
        let subscribe = self.client.subscribe_with_properties(filter, qos, properties);
        Ok(self.runtime.block_on(subscribe)?)
    }

    fn unsubscribe(&self, filter: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.unsubscribe(filter))?)
    }

    fn publish(&self, message: &Message) -> Result<()> {
        let Message { topic, payload, retain, .. } = message.clone();
        let qos = qos(message.qos)?;
        if message.properties == Properties::default() {
            let publish = self.client.publish(topic, qos, retain, payload);
            return Ok(self.runtime.block_on(publish)?);
        }
        let properties = message.properties.clone();
        let properties = PublishProperties {
            payload_format_indicator: properties.format,
            message_expiry_interval: properties.expiry,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation.map(Into::into),
            user_properties: properties.user,
            content_type: properties.content_type,
            ..PublishProperties::default()
        };
        let publish = self.client.publish_with_properties(topic, qos, retain, payload, properties);
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
    mqttbytes::qos(level).context("a QoS is 0 to 2")
}

const fn code(code: &SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        _ => 0x80,
    }
}
