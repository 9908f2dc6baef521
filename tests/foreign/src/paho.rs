//! paho-mqtt, the wrapper around Paho's C library, at 3.1, 3.1.1 and 5.0.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, DisconnectOptionsBuilder,
    MessageBuilder, MqttVersion, PersistenceType, PropertyCode, SubscribeOptions,
};

use crate::{
    inbox::{Inbox, WAIT_MAX},
    message::{Message, Properties},
    peer::{Client, Setup},
};

struct Paho {
    client: AsyncClient,
    inbox: Arc<Inbox>,
    level: u8,
}

/// Keeps a client connected: when the last one of a process goes, the C library takes a second to end its threads.
pub fn keep_awake(port: u16) -> Result<AsyncClient> {
    let client = AsyncClient::new(format!("tcp://127.0.0.1:{port}"))?;
    client.connect(None).wait_for(WAIT_MAX)?;
    Ok(client)
}

/// Connects and waits for the CONNACK.
pub fn connect(setup: &Setup, port: u16, inbox: Arc<Inbox>) -> Result<Box<dyn Client>> {
    let version = match setup.level {
        3 => MqttVersion::V3_1,
        4 => MqttVersion::V3_1_1,
        _ => MqttVersion::V5,
    };
    let options = CreateOptionsBuilder::new()
        .server_uri(format!("tcp://127.0.0.1:{port}"))
        .client_id(&setup.id)
        .mqtt_version(version)
        .persistence(PersistenceType::None)
        .max_buffered_messages(10_000)
        .finalize();
    let client = AsyncClient::new(options)?;
    let messages = Arc::clone(&inbox);
    client.set_message_callback(move |_, came| {
        let Some(came) = came else { return };
        messages.change(|state| state.messages.push(message(&came)));
    });
    let lost = Arc::clone(&inbox);
    client.set_connection_lost_callback(move |_| {
        lost.change(|state| state.ended = Some("the connection was lost".to_owned()));
    });
    let told = Arc::clone(&inbox);
    client.set_disconnected_callback(move |_, _, reason| {
        told.change(|state| state.ended = Some(format!("DISCONNECT: {reason}")));
    });
    let mut options = ConnectOptionsBuilder::with_mqtt_version(version);
    options.keep_alive_interval(Duration::from_secs(60)).max_inflight(1000);
    if setup.level == 5 {
        let expiry = setup.expiry.unwrap_or(if setup.keeps_session { 3600 } else { 0 });
        let mut properties = paho_mqtt::Properties::new();
        properties.push_u32(PropertyCode::SessionExpiryInterval, expiry)?;
        options.clean_start(!setup.keeps_session).properties(properties);
    } else {
        options.clean_session(!setup.keeps_session);
    }
    if let Some(will) = &setup.will {
        options.will_message(foreign(will)?);
    }
    let response = client.connect(options.finalize()).wait_for(WAIT_MAX)?;
    let connack = response.connect_response();
    let assigned = response.properties().get_string(PropertyCode::AssignedClientIdentifer);
    inbox.change(|state| {
        state.resumed = connack.map(|connack| connack.session_present);
        state.assigned_id = assigned;
    });
    Ok(Box::new(Paho { client, inbox, level: setup.level }))
}

impl Client for Paho {
    fn subscribe(&self, filter: &str, qos: u8, id: Option<u32>) -> Result<()> {
        let token = if let Some(id) = id {
            let mut properties = paho_mqtt::Properties::new();
            properties.push_int(PropertyCode::SubscriptionIdentifier, i32::try_from(id)?)?;
            let options = SubscribeOptions::default();
            self.client.subscribe_with_options(filter, i32::from(qos), options, properties)
        } else {
            self.client.subscribe(filter, i32::from(qos))
        };
        let response = token.wait_for(WAIT_MAX)?;
        // At 5.0 the code is in another place.
        let code = match response.subscribe_response() {
            Some(code) if self.level < 5 => u8::try_from(code)?,
            _ => u8::try_from(response.reason_code() as i32)?,
        };
        self.inbox.change(|state| state.granted.push_back(code));
        Ok(())
    }

    fn unsubscribe(&self, filter: &str) -> Result<()> {
        self.client.unsubscribe(filter).wait_for(WAIT_MAX)?;
        self.inbox.change(|state| state.unsubscribed += 1);
        Ok(())
    }

    fn publish(&self, message: &Message) -> Result<()> {
        let token = self.client.try_publish(foreign(message)?)?;
        if message.qos == 0 {
            return Ok(token.wait_for(WAIT_MAX)?);
        }
        let inbox = Arc::clone(&self.inbox);
        // A token is a future; a thread of the runtime waits for it.
        crate::rumqttc_5::RUNTIME.spawn(async move {
            let outcome = token.await;
            inbox.change(|state| match outcome {
                Ok(()) => state.completed += 1,
                Err(error) => state.ended = Some(format!("PUBLISH: {error}")),
            });
        });
        Ok(())
    }

    fn disconnect(&self) -> Result<()> {
        let options = DisconnectOptionsBuilder::new().timeout(WAIT_MAX).finalize();
        self.client.disconnect(options).wait_for(WAIT_MAX)?;
        self.inbox.change(|state| state.ended = Some("disconnected".to_owned()));
        Ok(())
    }
}

impl Drop for Paho {
    fn drop(&mut self) {
        if self.client.is_connected() {
            // It may have ended in the meantime.
            let _ = self.client.disconnect(None).wait_for(WAIT_MAX);
        }
    }
}

fn foreign(message: &Message) -> Result<paho_mqtt::Message> {
    let Properties { format, expiry, content_type, response_topic, correlation, user, .. } =
        &message.properties;
    ensure!(message.properties.subscription_ids.is_empty(), "a client sends no identifiers");
    let mut properties = paho_mqtt::Properties::new();
    if let Some(format) = format {
        properties.push_byte(PropertyCode::PayloadFormatIndicator, *format)?;
    }
    if let Some(expiry) = expiry {
        properties.push_u32(PropertyCode::MessageExpiryInterval, *expiry)?;
    }
    if let Some(text) = content_type {
        properties.push_string(PropertyCode::ContentType, text)?;
    }
    if let Some(text) = response_topic {
        properties.push_string(PropertyCode::ResponseTopic, text)?;
    }
    if let Some(data) = correlation {
        properties.push_binary(PropertyCode::CorrelationData, data.clone())?;
    }
    for (name, value) in user {
        properties.push_string_pair(PropertyCode::UserProperty, name, value)?;
    }
    let builder = MessageBuilder::new()
        .topic(&message.topic)
        .payload(message.payload.clone())
        .qos(i32::from(message.qos))
        .retained(message.retain)
        .properties(properties);
    Ok(builder.finalize())
}

fn message(came: &paho_mqtt::Message) -> Message {
    let properties = came.properties();
    let ids = properties.iter(PropertyCode::SubscriptionIdentifier);
    Message {
        topic: came.topic().to_owned(),
        payload: came.payload().to_vec(),
        qos: came.qos() as u8,
        retain: came.retained(),
        properties: Properties {
            format: properties.get_val(PropertyCode::PayloadFormatIndicator),
            expiry: properties.get_val(PropertyCode::MessageExpiryInterval),
            content_type: properties.get_string(PropertyCode::ContentType),
            response_topic: properties.get_string(PropertyCode::ResponseTopic),
            correlation: properties.get_binary(PropertyCode::CorrelationData),
            user: properties.user_iter().collect(),
            subscription_ids: ids.filter_map(|id| id.get_int()?.try_into().ok()).collect(),
        },
    }
}
