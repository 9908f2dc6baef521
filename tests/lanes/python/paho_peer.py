"""A paho-mqtt client whose verbs wait for their answers."""

import socket
import threading
from collections import namedtuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lane import HOST, WAIT_S_MAX

V31, V311, V5 = paho.MQTTv31, paho.MQTTv311, paho.MQTTv5
VERSIONS = {V31: "3.1", V311: "3.1.1", V5: "5.0"}

# What cases compare: payload as text.
Message = namedtuple("Message", "topic text qos retain")


def properties(packet, **values):
    """Properties of a packet such as "publish", by paho's names: UserProperty=[("a", "1")]."""
    result = Properties(getattr(PacketTypes, packet.upper()))
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Peer:
    """One client. The callbacks of paho's thread fill lists; verbs wait on them."""

    def __init__(self, case, version, name=None, *, will=None, manual_ack=False, user=None, flow=None):
        self.case, self.version = case, version
        self.id = case.name() if name is None else name
        self.changed = threading.Condition()
        self.messages, self.raw, self.answers = [], [], {}
        self.connack = self.ended = None
        self.is_clean = True
        self.client = (flow or paho.Client)(
            CallbackAPIVersion.VERSION2, self.id, protocol=version, manual_ack=manual_ack, reconnect_on_failure=False,
            **({} if version == V5 else {"clean_session": True}))
        if will:
            self.client.will_set(**will)
        if user:
            self.client.username_pw_set(*user)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.client.on_publish = lambda c, u, mid, reason, props: self._answer("publish", mid, (reason, props))
        self.client.on_subscribe = lambda c, u, mid, reasons, props: self._answer("subscribe", mid, (reasons, props))
        self.client.on_unsubscribe = lambda c, u, mid, reasons, props: self._answer("unsubscribe", mid,
                                                                                    (reasons, props))
        case.closing.append(self.close)

    # --- verbs ---------------------------------------------------------------------------------------------------

    def connect(self, *, clean=True, expiry=None, keep_alive=60, wants="Success", **connect_properties):
        """Connects and waits for the CONNACK; `wants` is the reason that it must have."""
        self.connack = self.ended = None
        if self.version == V5:
            if expiry is not None:
                connect_properties["SessionExpiryInterval"] = expiry
            arguments = {"clean_start": clean, "properties": properties("connect", **connect_properties)}
        else:
            self.client._clean_session = clean  # paho asks for it at construction only
            arguments = {}
        self.client.connect(HOST, self.case.port, keepalive=keep_alive, **arguments)
        self.client.loop_start()
        self.until(lambda: self.connack or self.ended, "CONNACK")
        if str(self.connack and self.connack.reason) != wants:
            raise AssertionError(f"CONNACK: {self.connack} instead of {wants}; ended: {self.ended}")
        return self

    def subscribe(self, filters, qos=0, **subscribe_properties):
        """Subscribes to one filter, or to a list of (filter, QoS or options), and returns the reasons' values."""
        arguments = {}
        if subscribe_properties:
            arguments["properties"] = properties("subscribe", **subscribe_properties)
        elif self.version == V5 and isinstance(filters, list):
            filters = [(f, o if isinstance(o, paho.SubscribeOptions) else paho.SubscribeOptions(qos=o))
                       for f, o in filters]
        _, mid = self.client.subscribe(filters, qos, **arguments)
        reasons, _ = self._wait_answer("subscribe", mid)
        return [reason.value for reason in reasons]

    def unsubscribe(self, filters):
        """Unsubscribes and returns the reasons' values."""
        _, mid = self.client.unsubscribe(filters)
        reasons, _ = self._wait_answer("unsubscribe", mid)
        return [reason.value for reason in reasons]

    def publish(self, topic, payload="", qos=0, retain=False, **publish_properties):
        """Publishes and waits until the exchange is complete; returns its reason's value."""
        return self.finish(self.begin(topic, payload, qos, retain, **publish_properties))

    def begin(self, topic, payload="", qos=0, retain=False, **publish_properties):
        """Publishes without waiting; `finish` waits."""
        arguments = {}
        if publish_properties:
            arguments["properties"] = properties("publish", **publish_properties)
        return self.client.publish(topic, payload, qos, retain, **arguments).mid

    def finish(self, mid):
        """Waits for the end of an exchange that `begin` began."""
        return self._wait_answer("publish", mid)[0].value

    def disconnect(self, **arguments):
        """Sends a DISCONNECT and waits for the end of the connection."""
        self.client.disconnect(**arguments)
        self.until(lambda: self.ended, "end of the connection")
        self.client.loop_stop()

    def abort(self):
        """Ends the connection without a DISCONNECT."""
        sock = self.client.socket()
        if sock:
            sock.shutdown(socket.SHUT_RDWR)
        self.until(lambda: self.ended, "end of the connection")
        self.client.loop_stop()

    def close(self):
        """At the end of a case."""
        self.client.disconnect()
        self.client.loop_stop()

    def was_resumed(self, expected, when):
        """Fails unless the CONNACK says whether the broker had a session; 3.1 does not say."""
        if self.version != V31 and self.connack.session_present is not expected:
            raise AssertionError(f"{when}: session present is not {expected}")

    # --- waiting -------------------------------------------------------------------------------------------------

    def until(self, condition, what):
        """Waits until a condition on what the callbacks have filled is true."""
        with self.changed:
            if not self.changed.wait_for(condition, WAIT_S_MAX):
                raise AssertionError(f"{self.id} waited in vain for {what}; ended: {self.ended}; "
                                     f"messages: {self.messages!r:.500}")

    def receive(self, count):
        """Waits for `count` messages in all, and returns what there is."""
        self.until(lambda: len(self.messages) >= count, f"{count} messages")
        return list(self.messages)

    def fenced(self, publisher=None):
        """All messages that came before a message that is published now. Takes the fence away again."""
        mark = self.case.topic(f"fence/{self.case.name()}")
        self.subscribe(mark, 2)
        (publisher or self).publish(mark, "fence", 2)
        self.until(lambda: any(m.topic == mark for m in self.messages), "the fence")
        return [m for m in self.messages if "/fence/" not in m.topic]

    # --- callbacks -----------------------------------------------------------------------------------------------

    def _on_connect(self, client, userdata, flags, reason, props):
        with self.changed:
            self.connack = namedtuple("Connack", "reason session_present properties")(
                reason, flags.session_present, props)
            self.changed.notify_all()

    def _on_disconnect(self, client, userdata, flags, reason, props):
        with self.changed:
            self.ended = reason
            self.changed.notify_all()

    def _on_message(self, client, userdata, message):
        with self.changed:
            text = message.payload.decode() if len(message.payload) < 100000 else len(message.payload)
            self.messages.append(Message(message.topic, text, message.qos, message.retain))
            self.raw.append(message)
            self.changed.notify_all()

    def _answer(self, kind, mid, answer):
        with self.changed:
            self.answers[kind, mid] = answer
            self.changed.notify_all()

    def _wait_answer(self, kind, mid):
        self.until(lambda: (kind, mid) in self.answers or self.ended, f"the answer to {kind}")
        with self.changed:
            if (kind, mid) not in self.answers:
                raise AssertionError(f"{kind}: the connection ended: {self.ended}")
            return self.answers.pop((kind, mid))
