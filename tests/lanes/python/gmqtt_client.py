"""gmqtt (PyPI) against a broker: 3.1.1 and 5.0. See lane.py for the arguments."""

import asyncio
import logging
from collections import namedtuple

import gmqtt
from gmqtt.mqtt.constants import MQTTv311, MQTTv50

from lane import HOST, WAIT_S_MAX, Lane, holds, same

MIB = 1024 * 1024
CLIENTS = 200
BURST = 1000  # less than the broker's receive maximum: gmqtt has no more packet ids than that
VERSIONS = {MQTTv311: "3.1.1", MQTTv50: "5.0"}

Message = namedtuple("Message", "topic text qos retain")


class Peer:
    """One client, whose verbs wait for their answers."""

    def __init__(self, case, version, name=None, *, clean=True, will=None, answers=None, **connect_properties):
        self.case, self.version = case, version
        self.id = name or case.name()
        self.changed = asyncio.Condition()
        self.messages, self.properties, self.granted, self.unsubscribed = [], [], {}, {}
        self.resumed = self.ended = None
        # Reason codes by text, which only a coroutine can give; None acknowledges before on_message is called.
        self.answers = answers
        self.client = gmqtt.Client(self.id, clean_session=clean, will_message=will,
                                   optimistic_acknowledgement=answers is None, **connect_properties)
        self.client.set_config({"reconnect_retries": -2, "reconnect_delay": 0})  # never
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message if answers is None else self._answer
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = lambda c, mid, granted, props: self._change(self.granted.__setitem__, mid, granted)
        self.client.on_unsubscribe = lambda c, mid, codes: self._change(self.unsubscribed.__setitem__, mid, codes)
        case.peers.append(self)

    async def connect(self):
        """Connects and waits for the CONNACK."""
        async with asyncio.timeout(WAIT_S_MAX):
            await self.client.connect(HOST, self.case.port, keepalive=60, version=self.version)
        await self.until(lambda: self.resumed is not None, "CONNACK")
        return self

    async def subscribe(self, topic, qos=0, **options):
        """Subscribes and waits for the SUBACK, whose code must be the QoS."""
        mid = self.client.subscribe(topic, qos, **options)
        await self.until(lambda: mid in self.granted, "SUBACK")
        same(self.granted[mid], (qos,), "granted")

    async def unsubscribe(self, topic):
        """Unsubscribes and waits for the UNSUBACK."""
        mid = self.client.unsubscribe(topic)
        await self.until(lambda: mid in self.unsubscribed, "UNSUBACK")

    async def publish(self, topic, payload="", qos=0, **options):
        """Publishes and waits until nothing is in flight any more."""
        self.client.publish(topic, payload, qos=qos, **options)
        await self.idle()

    async def idle(self):
        """Waits until all exchanges are complete."""
        async with asyncio.timeout(WAIT_S_MAX):
            await self.client._persistent_storage.wait_empty()

    async def disconnect(self, **properties):
        """Sends a DISCONNECT."""
        await self.client.disconnect(**properties)

    async def abort(self):
        """Ends the connection without a DISCONNECT."""
        self.client._is_active = False
        self.client._connection._transport.abort()
        await self.until(lambda: self.ended is not None, "the end")

    async def until(self, condition, what):
        """Waits until a condition on what the callbacks have filled is true."""
        try:
            async with asyncio.timeout(WAIT_S_MAX), self.changed:
                await self.changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"{self.id} waited in vain for {what}; ended: {self.ended}; "
                                 f"messages: {self.messages!r:.500}") from None

    async def receive(self, count):
        """Waits for `count` messages in all, and returns what there is."""
        await self.until(lambda: len(self.messages) >= count, f"{count} messages")
        return list(self.messages)

    async def fenced(self, publisher=None):
        """All messages that came before one that is published now."""
        mark = self.case.topic(f"fence/{self.case.name()}")
        await self.subscribe(mark, 2)
        await (publisher or self).publish(mark, "fence", 2)
        await self.until(lambda: any(m.topic == mark for m in self.messages), "the fence")
        return [m for m in self.messages if "/fence/" not in m.topic]

    def _on_connect(self, client, session_present, result, properties):
        self.connack = properties
        self._change(setattr, self, "resumed", bool(session_present))

    def _on_disconnect(self, client, packet, exc=None):
        self._change(setattr, self, "ended", packet or b"")

    def _on_message(self, client, topic, payload, qos, properties):
        text = payload.decode() if len(payload) < 100000 else payload
        self.messages.append(Message(topic, text, qos, bool(properties["retain"])))
        self.properties.append(properties)
        self._change(lambda: None)

    async def _answer(self, client, topic, payload, qos, properties):
        self._on_message(client, topic, payload, qos, properties)
        return self.answers.get(self.messages[-1].text, 0)

    def _change(self, act, *arguments):
        act(*arguments)

        async def tell():
            async with self.changed:
                self.changed.notify_all()

        task = asyncio.ensure_future(tell())
        self.case.tasks.add(task)
        task.add_done_callback(self.case.tasks.discard)


# --- every version -----------------------------------------------------------------------------------------------

async def each_qos(case, version):
    """Each QoS of a publisher to each QoS of a subscription: the lower one arrives, in order."""
    publisher = await Peer(case, version).connect()
    subscribers = [await Peer(case, version).connect() for _ in range(3)]
    for qos, subscriber in enumerate(subscribers):
        await subscriber.subscribe(case.topic("+/temp"), qos)
    for qos in range(3):
        await publisher.publish(case.topic("7/temp"), f"21.{qos}", qos)
    for qos, subscriber in enumerate(subscribers):
        same(await subscriber.fenced(publisher),
             [Message(case.topic("7/temp"), f"21.{n}", min(n, qos), False) for n in range(3)], f"at QoS {qos}")


async def retained(case, version):
    """Stored, replaced, sent to new subscriptions with the flag, live without it, cleared by an empty one."""
    topic = case.topic("keep")
    publisher = await Peer(case, version).connect()
    for qos in range(3):
        await publisher.publish(topic, f"at {qos}", qos, retain=True)
    early = await Peer(case, version).connect()
    await early.subscribe(case.topic("+"), 2)
    same(await early.receive(1), [Message(topic, "at 2", 2, True)])
    for text in ("next", ""):
        await publisher.publish(topic, text, 1, retain=True)
    same((await early.fenced(publisher))[1:], [Message(topic, text, 1, False) for text in ("next", "")])
    late = await Peer(case, version).connect()
    await late.subscribe(case.topic("+"), 1)
    same(await late.fenced(publisher), [])


async def will(case, version):
    """Sent when the connection breaks, with QoS; not after a DISCONNECT."""
    watch = await Peer(case, version).connect()
    await watch.subscribe(case.topic("will/+"), 2)
    for qos in range(3):
        topic = case.topic(f"will/{qos}")
        await (await Peer(case, version, will=gmqtt.Message(topic, "gone", qos=qos)).connect()).abort()
        await (await Peer(case, version, will=gmqtt.Message(topic, "never", qos=qos)).connect()).disconnect()
    await watch.receive(3)
    same(sorted(await watch.fenced()), [Message(case.topic(f"will/{qos}"), "gone", qos, False) for qos in range(3)])


def keeping(version):
    """How a client asks for a session that outlives its connection."""
    return {"clean": False, **({"session_expiry_interval": 3600} if version == MQTTv50 else {})}


async def resumed(case, version):
    """What comes while the client is away: all, in order, once; a clean connect ends it."""
    name, topic = case.name("keeps"), case.topic("offline")
    peer = await Peer(case, version, name, **keeping(version)).connect()
    same(peer.resumed, False)
    await peer.subscribe(topic, 2)
    await peer.disconnect()
    publisher = await Peer(case, version).connect()
    for n in range(400):
        publisher.client.publish(topic, str(n), qos=1 + n % 2)
    await publisher.idle()
    peer = await Peer(case, version, name, **keeping(version)).connect()
    same(peer.resumed, True)
    # gmqtt hands a QoS 2 message over at PUBLISH, so that the order of both can be seen.
    same([(m.text, m.qos) for m in await peer.fenced(publisher)], [(str(n), 1 + n % 2) for n in range(400)])
    await peer.disconnect()
    same((await Peer(case, version, name).connect()).resumed, False)


async def unacknowledged(case, version):
    """What is not acknowledged when the connection breaks comes again."""
    name, topic = case.name("acks"), case.topic("acks")
    peer = await Peer(case, version, name, answers={}, **keeping(version)).connect()
    await peer.subscribe(topic, 1)
    peer.client._package_handler._send_puback = lambda mid, reason_code=0: None
    publisher = await Peer(case, version).connect()
    for n in range(3):
        await publisher.publish(topic, str(n), 1)
    await peer.receive(3)
    await peer.abort()
    again = await Peer(case, version, name, **keeping(version)).connect()
    same([m.text for m in await again.receive(3)], ["0", "1", "2"])
    same([props["dup"] for props in again.properties], [1, 1, 1])
    await again.disconnect()
    await Peer(case, version, name).connect()


async def exactly_once(case, version):
    """A publisher whose connection breaks at PUBREC finishes the exchange in its session; it is delivered once."""
    topic, name = case.topic("once"), case.name("once")
    subscriber = await Peer(case, version).connect()
    await subscriber.subscribe(topic, 2)
    first = await Peer(case, version, name, **keeping(version)).connect()
    connection = first.client._connection
    first.client._is_active = False
    first.client._package_handler._send_pubrel = lambda mid, dup, reason_code=0: connection._transport.abort()
    first.client.publish(topic, "once", qos=2)
    await first.until(lambda: first.ended is not None, "the cut")
    again = Peer(case, version, name, **keeping(version))
    again.client._persistent_storage = first.client._persistent_storage
    await again.connect()
    await again.idle()
    same(await subscriber.fenced(again), [Message(topic, "once", 2, False)])
    await again.disconnect()
    await Peer(case, version, name).connect()


async def taken_over(case, version):
    """A second connection of a client id ends the first and has its session."""
    name = case.name("twice")
    first = await Peer(case, version, name, **keeping(version)).connect()
    await first.subscribe(case.topic("a"), 1)
    second = await Peer(case, version, name, **keeping(version)).connect()
    await first.until(lambda: first.ended is not None, "the end of the first")
    same(second.resumed, True)
    await second.publish(case.topic("a"), "x", 1)
    same([m.text for m in await second.fenced()], ["x"])
    await second.disconnect()
    await Peer(case, version, name).connect()


async def unsubscribed(case, version):
    """Nothing comes after an UNSUBACK."""
    peer = await Peer(case, version).connect()
    for rest in "ab":
        await peer.subscribe(case.topic(rest), 1)
    await peer.unsubscribe(case.topic("a"))
    for rest in "ab":
        await peer.publish(case.topic(rest), rest, 1)
    same([m.text for m in await peer.fenced()], ["b"])


async def shared(case, version):
    """Members of a group share the messages; others get them all."""
    members = [await Peer(case, version).connect() for _ in range(3)]
    for member in members:
        await member.subscribe("$share/group/" + case.topic("s/+"), 1)
    everybody = await Peer(case, version).connect()
    await everybody.subscribe(case.topic("s/+"), 1)
    publisher = await Peer(case, version).connect()
    sent = [f"{n:02}" for n in range(30)]
    for text in sent:
        await publisher.publish(case.topic("s/x"), text, 1)
    same([m.text for m in await everybody.fenced(publisher)], sent)
    got = [await member.fenced(publisher) for member in members]
    same(sorted(m.text for messages in got for m in messages), sent)
    if case.is_ours:
        same([len(messages) for messages in got], [10, 10, 10], "share of each")


async def large(case, version, qos):
    """A payload of 1 MiB is whole."""
    payload = bytes(range(256)) * (MIB // 256)
    peer = await Peer(case, version).connect()
    await peer.subscribe(case.topic("large"), qos)
    await (await Peer(case, version).connect()).publish(case.topic("large"), payload, qos)
    holds((await peer.receive(1))[0].text == payload, "the payload is whole")


async def burst(case, version, qos):
    """Many messages at once keep their order."""
    peer = await Peer(case, version).connect()
    await peer.subscribe(case.topic("burst"), qos)
    publisher = await Peer(case, version).connect()
    for n in range(BURST):
        publisher.client.publish(case.topic("burst"), str(n), qos=qos)
    await publisher.idle()
    same([m.text for m in await peer.fenced(publisher)], [str(n) for n in range(BURST)])


async def crowd(case, version):
    """200 clients at once: each to its neighbour, one to all, all to one."""
    peers = [Peer(case, version) for _ in range(CLIENTS)]
    await asyncio.gather(*(peer.connect() for peer in peers))
    await asyncio.gather(*(peer.subscribe(case.topic(f"to/{n}"), 2) for n, peer in enumerate(peers)))
    await asyncio.gather(*(peer.subscribe(case.topic("all"), 1) for peer in peers))
    await asyncio.gather(*(peer.publish(case.topic(f"to/{(n + 1) % CLIENTS}"), f"from {n}", 2)
                           for n, peer in enumerate(peers)))
    center = await Peer(case, version).connect()
    await center.subscribe(case.topic("in"), 1)
    for n in range(5):
        await center.publish(case.topic("all"), f"to all {n}", 1)
    for n, peer in enumerate(peers):
        same(sorted(m.text for m in await peer.receive(6)),
             [f"from {(n - 1) % CLIENTS}"] + [f"to all {n}" for n in range(5)], f"client {n}")
    await asyncio.gather(*(peer.publish(case.topic("in"), str(n), 1) for n, peer in enumerate(peers)))
    same(sorted(int(m.text) for m in await center.fenced()), list(range(CLIENTS)))


# --- 5.0 ---------------------------------------------------------------------------------------------------------

async def properties(case):
    """Properties pass unchanged, live and retained, user properties in order."""
    values = {"payload_format_id": 1, "content_type": "application/json", "response_topic": case.topic("back"),
              "correlation_data": bytes(range(256)), "user_property": [("b", "2"), ("a", "1"), ("b", "3")]}
    # Received, each is a list of what came.
    expected = {name: value if name == "user_property" else [value] for name, value in values.items()}
    live, late = [await Peer(case, MQTTv50).connect() for _ in range(2)]
    await live.subscribe(case.topic("a"), 2)
    await live.publish(case.topic("a"), "{}", 2, retain=True, **values)
    await late.subscribe(case.topic("a"), 2)
    for peer in (live, late):
        await peer.receive(1)
        same({name: peer.properties[0].get(name) for name in values}, expected)
    await live.publish(case.topic("a"), "", 1, retain=True)


async def message_expiry(case):
    """A live message has the interval that it was sent with."""
    peer = await Peer(case, MQTTv50).connect()
    await peer.subscribe(case.topic("a"), 1)
    await peer.publish(case.topic("a"), "x", 1, message_expiry_interval=1000)
    await peer.receive(1)
    holds(peer.properties[0]["message_expiry_interval"][0] in (999, 1000), peer.properties[0])


async def subscription_ids(case):
    """Identifiers of all subscriptions that match come with a message."""
    peer = await Peer(case, MQTTv50).connect()
    await peer.subscribe(case.topic("#"), 1, subscription_identifier=7)
    await peer.subscribe(case.topic("+"), 1, subscription_identifier=268435455)
    await peer.publish(case.topic("a"), "x", 1)
    await peer.fenced()
    ids = [props["subscription_identifier"] for m, props in zip(peer.messages, peer.properties)
           if m.topic == case.topic("a")]
    same(sorted(n for found in ids for n in found), [7, 268435455])
    if case.is_ours:
        same(len(ids), 1, "copies")


async def topic_alias(case):
    """Aliases of the publisher, and those that the broker may use."""
    peer = await Peer(case, MQTTv50, topic_alias_maximum=5).connect()
    await peer.subscribe(case.topic("+"), 1)
    publisher = await Peer(case, MQTTv50).connect()
    most = publisher.connack["topic_alias_maximum"][0]
    for n in range(10):
        topic = case.topic(f"t{n % 2}")
        await publisher.publish(topic if n < 2 else "", str(n), 1, topic_alias=most - n % 2)
    same([(m.topic, m.text) for m in await peer.fenced(publisher)],
         [(case.topic(f"t{n % 2}"), str(n)) for n in range(10)])


async def receive_maximum(case):
    """The broker sends no more than the client takes at once."""
    peer = await Peer(case, MQTTv50, answers={}, receive_maximum=3).connect()
    await peer.subscribe(case.topic("a"), 1)
    acknowledge, held = peer.client._package_handler._send_puback, []
    peer.client._package_handler._send_puback = lambda mid, reason_code=0: held.append(mid)
    publisher = await Peer(case, MQTTv50).connect()
    for n in range(10):
        await publisher.publish(case.topic("a"), str(n), 1)
    for n in range(10):
        await peer.receive(n + 1)
        holds(len(peer.messages) <= n + 3, f"too many after {n} acknowledgements")
        await peer.until(lambda: len(held) > n, "the callback's end")
        acknowledge(held[n])
    same([m.text for m in peer.messages], [str(n) for n in range(10)])


async def refused_by_subscriber(case):
    """A subscriber's error code ends the exchange; the message does not come again, and the others go on."""
    name = case.name("refuses")
    peer = await Peer(case, MQTTv50, name, answers={"bad": 0x99}, **keeping(MQTTv50)).connect()
    await peer.subscribe(case.topic("a"), 2)
    publisher = await Peer(case, MQTTv50).connect()
    for qos in (1, 2):
        for text in ("bad", "good"):
            await publisher.publish(case.topic("a"), text, qos)
    same([m.text for m in await peer.fenced(publisher)], ["bad", "good"] * 2)
    await peer.disconnect()
    again = await Peer(case, MQTTv50, name, **keeping(MQTTv50)).connect()
    same(again.resumed, True)
    same(await again.fenced(publisher), [])
    await again.disconnect()
    await Peer(case, MQTTv50, name).connect()


async def options(case):
    """No Local, Retain As Published, Retain Handling."""
    publisher = await Peer(case, MQTTv50).connect()
    await publisher.publish(case.topic("a"), "old", 1, retain=True)
    expected = {0: ["old", "old"], 1: ["old"], 2: []}
    for handling, olds in expected.items():
        peer = await Peer(case, MQTTv50).connect()
        for _ in range(2):
            await peer.subscribe(case.topic("a"), 1, no_local=True, retain_as_published=True,
                                 retain_handling_options=handling)
        await peer.publish(case.topic("a"), "own", 1)
        await publisher.publish(case.topic("a"), "old", 1, retain=True)
        same([m for m in await peer.fenced(publisher)],
             [Message(case.topic("a"), "old", 1, True) for _ in olds + ["live"]], f"handling {handling}")
        await peer.disconnect()
    await publisher.publish(case.topic("a"), "", 1, retain=True)


async def session_expiry(case):
    """0 ends with the connection; a DISCONNECT may change it."""
    async def connect(expiry):
        return await Peer(case, MQTTv50, "expires-" + case.root, clean=False, session_expiry_interval=expiry).connect()

    await (await connect(0)).disconnect()
    peer = await connect(100)
    same(peer.resumed, False, "after expiry 0")
    await peer.disconnect()
    peer = await connect(100)
    same(peer.resumed, True, "within 100 s")
    await peer.disconnect(session_expiry_interval=0)
    same((await connect(0)).resumed, False, "after a DISCONNECT that ends it")


# --- the lane ----------------------------------------------------------------------------------------------------

def in_a_loop(function):
    """A case that runs a coroutine in an event loop of its own, and disconnects what it has connected."""
    async def run(case, arguments):
        case.peers, case.tasks = [], set()
        try:
            await function(case, *arguments)
        finally:
            for peer in case.peers:
                if peer.client._connection and not peer.client._connection.is_closing():
                    await peer.client.disconnect()

    return lambda case, *arguments: asyncio.run(run(case, arguments))


def main():
    """Runs what --only asks for."""
    lane = Lane()
    logging.disable()  # gmqtt reports what the cases do on purpose
    for version, number in VERSIONS.items():
        for function in (each_qos, retained, will, resumed, unacknowledged, exactly_once, taken_over, unsubscribed,
                         shared):
            lane.case(f"{number}: {function.__name__.replace('_', ' ')}", in_a_loop(function), version)
        for qos in range(3):
            lane.case(f"{number}: 1 MiB at QoS {qos}", in_a_loop(large), version, qos)
            lane.case(f"{number}: {BURST} messages in order at QoS {qos}", in_a_loop(burst), version, qos)
        lane.case(f"{number}: {CLIENTS} clients at once", in_a_loop(crowd), version)
    for function in (properties, message_expiry, subscription_ids, topic_alias, receive_maximum,
                     refused_by_subscriber, options, session_expiry):
        lane.case(f"5.0: {function.__name__.replace('_', ' ')}", in_a_loop(function))


if __name__ == "__main__":
    main()
