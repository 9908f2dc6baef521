//! What a broker answers when all is well, or when it says no.

use postrider_broker::wire::{
    Ack, AckKind, ConnAck, Packet, PacketId, PacketType, Properties, Publish, QoS, ReasonCode,
    SubAck, Subscribe, UnsubAck, Unsubscribe,
};

use crate::{ScriptError, play::Play};

impl Play {
    /// Waits for a SUBSCRIBE, and answers each of its filters: with the QoS asked for, or `refused`.
    pub(crate) async fn answer_subscribe(
        &mut self,
        refused: Option<ReasonCode>,
    ) -> Result<(), ScriptError> {
        let Packet::Subscribe(subscribe) = self.expected(PacketType::Subscribe).await? else {
            return Ok(());
        };
        self.send(&suback(&subscribe, refused)).await
    }

    /// Waits for an UNSUBSCRIBE, and answers it.
    pub(crate) async fn answer_unsubscribe(&mut self) -> Result<(), ScriptError> {
        let Packet::Unsubscribe(unsubscribe) = self.expected(PacketType::Unsubscribe).await? else {
            return Ok(());
        };
        self.send(&unsuback(&unsubscribe)).await
    }

    /// Waits for a PUBLISH, and takes or refuses it; at QoS 2 with everything that follows.
    pub(crate) async fn answer_publish(&mut self, reason: ReasonCode) -> Result<(), ScriptError> {
        let Packet::Publish(publish) = self.expected(PacketType::Publish).await? else {
            return Ok(());
        };
        let Some((kind, packet_id)) = first_ack(&publish) else { return Ok(()) };
        self.send(&ack(kind, packet_id, reason)).await?;
        if kind == AckKind::PubRec && !reason.is_error() {
            self.expect(PacketType::PubRel).await?;
            self.send(&ack(AckKind::PubComp, packet_id, ReasonCode::Success)).await?;
        }
        Ok(())
    }

    /// Sends a message and waits until the client has acknowledged it.
    pub(crate) async fn deliver(&mut self, mut publish: Publish) -> Result<(), ScriptError> {
        if publish.qos == QoS::AtMostOnce {
            return self.send(&Packet::Publish(publish)).await;
        }
        let (packet_id, qos) = (self.next_id(), publish.qos);
        publish.packet_id = Some(packet_id);
        self.send(&Packet::Publish(publish)).await?;
        if qos == QoS::AtLeastOnce {
            return self.expect(PacketType::PubAck).await;
        }
        self.expect(PacketType::PubRec).await?;
        self.send(&ack(AckKind::PubRel, packet_id, ReasonCode::Success)).await?;
        self.expect(PacketType::PubComp).await
    }

    /// Answers whatever comes as a broker that routes nothing, until the client closes the connection.
    pub(crate) async fn serve(&mut self) -> Result<(), ScriptError> {
        while let Some(packet) = self.next().await? {
            if let Some(answer) = answer(&packet) {
                self.answer(&answer).await?;
            }
        }
        Ok(())
    }
}

/// What a broker says to a packet if all is well.
fn answer(packet: &Packet) -> Option<Packet> {
    match packet {
        Packet::Connect(_) => Some(connack(ReasonCode::Success, false)),
        Packet::Publish(publish) => {
            first_ack(publish).map(|(kind, id)| ack(kind, id, ReasonCode::Success))
        }
        Packet::PubRel(it) => Some(ack(AckKind::PubComp, it.packet_id, ReasonCode::Success)),
        Packet::PubRec(it) => Some(ack(AckKind::PubRel, it.packet_id, ReasonCode::Success)),
        Packet::Subscribe(subscribe) => Some(suback(subscribe, None)),
        Packet::Unsubscribe(unsubscribe) => Some(unsuback(unsubscribe)),
        // A ping has been answered already; others end an exchange.
        Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubComp(_)
        | Packet::SubAck(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => None,
    }
}

pub(crate) fn connack(reason: ReasonCode, session_present: bool) -> Packet {
    Packet::ConnAck(ConnAck { session_present, reason, properties: Properties::new() })
}

fn first_ack(publish: &Publish) -> Option<(AckKind, PacketId)> {
    let kind = match publish.qos {
        QoS::AtMostOnce => return None,
        QoS::AtLeastOnce => AckKind::PubAck,
        QoS::ExactlyOnce => AckKind::PubRec,
    };
    Some((kind, publish.packet_id?))
}

fn ack(kind: AckKind, packet_id: PacketId, reason: ReasonCode) -> Packet {
    kind.packet(Ack { packet_id, reason, properties: Properties::new() })
}

fn suback(subscribe: &Subscribe, refused: Option<ReasonCode>) -> Packet {
    let granted = subscribe.filters.iter().map(|line| match line.options.qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    });
    let reasons = granted.map(|granted| refused.unwrap_or(granted)).collect();
    let (packet_id, properties) = (subscribe.packet_id, Properties::new());
    Packet::SubAck(SubAck { packet_id, properties, reasons })
}

fn unsuback(unsubscribe: &Unsubscribe) -> Packet {
    let reasons = vec![ReasonCode::Success; unsubscribe.filters.len()];
    let (packet_id, properties) = (unsubscribe.packet_id, Properties::new());
    Packet::UnsubAck(UnsubAck { packet_id, properties, reasons })
}
