"""paho-mqtt (PyPI) against a broker: 3.1, 3.1.1 and 5.0. See lane.py for the arguments."""

import itertools
import time

from paho.mqtt import client as paho
from paho.mqtt.subscribeoptions import SubscribeOptions

from lane import Lane, holds, same
from paho_peer import V31, V311, V5, VERSIONS, Message, Peer, properties

MIB = 1024 * 1024
CLIENTS = 200
BURST = 1000


# --- every version -----------------------------------------------------------------------------------------------

def each_qos(case, version):
    """Each QoS of a publisher to each QoS of a subscription: the lower one arrives."""
    subscribers = [Peer(case, version).connect() for _ in range(3)]
    for qos, subscriber in enumerate(subscribers):
        same(subscriber.subscribe(case.topic("+/temp"), qos), [qos], "granted")
    publisher = Peer(case, version).connect()
    for qos in range(3):
        publisher.publish(case.topic("7/temp"), f"21.{qos}", qos)
    for qos, subscriber in enumerate(subscribers):
        expected = [Message(case.topic("7/temp"), f"21.{n}", min(n, qos), False) for n in range(3)]
        # paho hands a QoS 2 message over at PUBREL, perhaps after later ones.
        same(sorted(subscriber.fenced(publisher)), expected, f"at QoS {qos}")


def crossing(case, version):
    """A publisher of one version, subscribers of all."""
    subscribers = [Peer(case, other).connect() for other in VERSIONS]
    for subscriber in subscribers:
        subscriber.subscribe(case.topic("#"), 2)
    publisher = Peer(case, version).connect()
    publisher.publish(case.topic("a"), "text", 2)
    for subscriber in subscribers:
        same(subscriber.fenced(publisher), [Message(case.topic("a"), "text", 2, False)])


def to_itself(case, version):
    """A client gets what it publishes; empty payloads and empty levels are as good as others."""
    peer = Peer(case, version).connect()
    peer.subscribe(case.topic("#"), 1)
    for rest in ("/", "/a/", "a//b", "a b", "\u00e4\u20ac\U0001f600"):
        peer.publish(case.topic(rest), "", 1)
    same([m.topic for m in peer.fenced()],
         [case.topic(rest) for rest in ("/", "/a/", "a//b", "a b", "\u00e4\u20ac\U0001f600")])


def retained(case, version):
    """Stored, replaced, sent to new subscriptions with the flag, live without it, cleared by an empty one."""
    topic = case.topic("keep")
    publisher = Peer(case, version).connect()
    for text, qos in (("first", 0), ("second", 1), ("third", 2)):
        publisher.publish(topic, text, qos, retain=True)
    early = Peer(case, version).connect()
    early.subscribe(case.topic("+"), 2)
    same(early.receive(1), [Message(topic, "third", 2, True)])
    publisher.publish(topic, "fourth", 1, retain=True)
    publisher.publish(topic, "passing", 1)
    publisher.publish(topic, "", 1, retain=True)
    same(early.fenced(publisher)[1:], [Message(topic, text, 1, False) for text in ("fourth", "passing", "")])
    late = Peer(case, version).connect()
    late.subscribe(case.topic("+"), 1)
    same(late.fenced(publisher), [])


def retained_many(case, version):
    """500 retained messages reach one wildcard, each once, and again after a new SUBSCRIBE."""
    publisher = Peer(case, version).connect()
    topics = [case.topic(f"many/{n}") for n in range(500)]
    for mid in [publisher.begin(topic, topic, 1, retain=True) for topic in topics]:
        publisher.finish(mid)
    subscriber = Peer(case, version).connect()
    for _ in range(2):
        subscriber.messages.clear()
        subscriber.subscribe(case.topic("many/#"), 1)
        got = subscriber.fenced(publisher)
        same(sorted(m.topic for m in got), sorted(topics))
        holds(all(m.retain and m.text == m.topic for m in got), "each has the flag and its text")
    for mid in [publisher.begin(topic, "", 1, retain=True) for topic in topics]:
        publisher.finish(mid)


def will(case, version):
    """Sent when the connection breaks, with QoS and retain; not after a DISCONNECT."""
    watch = Peer(case, version).connect()
    watch.subscribe(case.topic("will/#"), 2)
    for qos in range(3):
        message = {"topic": case.topic(f"will/{qos}"), "payload": f"gone {qos}", "qos": qos, "retain": qos == 1}
        Peer(case, version, will=message).connect().abort()
        Peer(case, version, will={**message, "payload": "never"}).connect().disconnect()
    watch.receive(3)
    same(sorted(watch.fenced()), [Message(case.topic(f"will/{qos}"), f"gone {qos}", qos, False) for qos in range(3)])
    late = Peer(case, version).connect()
    late.subscribe(case.topic("will/#"), 2)
    same(late.fenced(), [Message(case.topic("will/1"), "gone 1", 1, True)])
    late.publish(case.topic("will/1"), "", 1, retain=True)


def resumed(case, version):
    """What comes while the client is away: all of QoS 1 and 2, in order, once; a clean connect ends it."""
    name, topic = case.name("keeps"), case.topic("offline")
    keep = {"clean": False, "expiry": 3600}
    peer = Peer(case, version, name).connect(**keep)
    peer.was_resumed(False, "session present at first")
    peer.subscribe([(case.topic("offline"), 2), (case.topic("one"), 1)])
    peer.disconnect()
    publisher = Peer(case, version).connect()
    for n in range(300):
        publisher.publish(topic, f"a{n}", 1)
    for n in range(300):
        publisher.publish(topic, f"b{n}", 2)
    publisher.publish(case.topic("one"), "at one", 2)
    peer = Peer(case, version, name).connect(**keep)
    peer.was_resumed(True, "session present")
    got = peer.fenced(publisher)
    same([m.text for m in got if m.qos == 1], [f"a{n}" for n in range(300)] + ["at one"])
    same([m.text for m in got if m.qos == 2], [f"b{n}" for n in range(300)])
    peer.disconnect()
    Peer(case, version, name).connect(clean=True).was_resumed(False, "after a clean connect")
    publisher.publish(topic, "late", 1)
    again = Peer(case, version, name).connect(**keep)
    same(again.fenced(publisher), [])
    again.disconnect()
    Peer(case, version, name).connect()


def parting(case):
    """The will by which `abort_seen_by` knows that the broker has seen an abort."""
    return {"topic": case.topic("parting"), "payload": "", "qos": 1}


def abort_seen_by(watch, peer):
    """Breaks a peer's connection and waits until the broker has seen it."""
    watch.subscribe(peer.case.topic("parting"), 1)
    peer.abort()
    watch.until(lambda: any(m.topic.endswith("/parting") for m in watch.messages), "the will")


def leave_seen_by_broker(peer):
    """Disconnects a peer; when the broker has accepted the next connection of its name, it has seen that."""
    peer.disconnect()
    Peer(peer.case, peer.version, peer.id).connect()


def unacknowledged(case, version):
    """A QoS 1 message that was not acknowledged comes again, as a duplicate, before later ones."""
    name, topic = case.name("acks"), case.topic("acks")
    keep = {"clean": False, "expiry": 3600}
    peer = Peer(case, version, name, manual_ack=True, will=parting(case)).connect(**keep)
    peer.subscribe(topic, 1)
    publisher = Peer(case, version).connect()
    for n in range(3):
        publisher.publish(topic, str(n), 1)
    peer.receive(3)
    peer.client.ack(peer.raw[0].mid, 1)
    # When the fence has come, the broker has read the PUBACK.
    peer.fenced(publisher)
    abort_seen_by(publisher, peer)
    publisher.publish(topic, "3", 1)
    again = Peer(case, version, name, manual_ack=True).connect(**keep)
    again.until(lambda: sum(m.topic == topic for m in again.messages) >= 3, "three messages")
    got = [m for m in again.raw if m.topic == topic]
    same([(m.payload.decode(), m.dup) for m in got], [("1", True), ("2", True), ("3", False)])
    again.disconnect()
    Peer(case, version, name).connect()


class CutAtPubrec(paho.Client):
    """Loses its connection when the first PUBREC arrives, unread."""

    cuts = 1

    def _handle_pubrec(self):
        if self.cuts:
            self.cuts -= 1
            self._sock_close()
            return paho.MQTTErrorCode.MQTT_ERR_CONN_LOST
        return super()._handle_pubrec()


class CutAtPubcomp(paho.Client):
    """Loses its connection when the first PUBCOMP arrives, unread."""

    cuts = 1

    def _handle_pubackcomp(self, cmd):
        if self.cuts:
            self.cuts -= 1
            self._sock_close()
            return paho.MQTTErrorCode.MQTT_ERR_CONN_LOST
        return super()._handle_pubackcomp(cmd)


def exactly_once(case, version, flow):
    """A QoS 2 exchange that is cut in the middle and taken up again delivers once."""
    topic = case.topic("once")
    subscriber = Peer(case, version).connect()
    subscriber.subscribe(topic, 2)
    peer = Peer(case, version, flow=flow).connect(clean=False, expiry=3600)
    mid = peer.begin(topic, "once", 2)
    peer.until(lambda: peer.ended, "the cut")
    peer.client.loop_stop()
    peer.connect(clean=False, expiry=3600)
    peer.was_resumed(True, "session present")
    # 0x92 at a PUBREL that is sent again: the exchange was complete.
    holds(peer.finish(mid) in (0, 0x92), "reason")
    same(subscriber.fenced(peer), [Message(topic, "once", 2, False)])
    peer.disconnect()
    Peer(case, version, peer.id).connect()


def take_over(case, version):
    """A second connection of a client id ends the first and has its session."""
    name = case.name("twice")
    first = Peer(case, version, name).connect(clean=False, expiry=3600)
    first.subscribe(case.topic("a"), 1)
    second = Peer(case, version, name).connect(clean=False, expiry=3600)
    first.until(lambda: first.ended, "the end of the first")
    if version == V5:
        same(first.ended.value, 0x8E, "reason of the DISCONNECT")
    second.was_resumed(True, "session present")
    second.publish(case.topic("a"), "x", 1)
    same(second.fenced(), [Message(case.topic("a"), "x", 1, False)])
    second.disconnect()
    Peer(case, version, name).connect()


def unsubscribed(case, version):
    """Nothing comes after an UNSUBACK."""
    peer = Peer(case, version).connect()
    peer.subscribe([(case.topic("a"), 1), (case.topic("b"), 1), (case.topic("#"), 0)])
    reasons = peer.unsubscribe([case.topic("a"), case.topic("#"), case.topic("never")])
    if version == V5:
        same(reasons, [0, 0, 0x11], "reasons")
    peer.publish(case.topic("a"), "a", 1)
    peer.publish(case.topic("b"), "b", 1)
    same(peer.fenced(), [Message(case.topic("b"), "b", 1, False)])


def overlapping(case, version):
    """Several filters of one client match: the highest QoS; ours sends one copy."""
    peer = Peer(case, version).connect()
    peer.subscribe([(case.topic("#"), 0), (case.topic("+"), 2), (case.topic("a"), 1)])
    peer.publish(case.topic("a"), "once", 2)
    got = peer.fenced()
    holds(Message(case.topic("a"), "once", 2, False) in got, f"one has the highest QoS: {got}")
    if case.is_ours:
        same(len(got), 1, "copies")


def granted_again(case, version):
    """A subscription that is made again replaces the first: one copy, at its new QoS."""
    peer = Peer(case, version).connect()
    peer.subscribe(case.topic("a"), 2)
    peer.subscribe(case.topic("a"), 0)
    peer.publish(case.topic("a"), "x", 2)
    same(peer.fenced(), [Message(case.topic("a"), "x", 0, False)])


def wildcards(case, version):
    """Which topics a filter matches."""
    filters = {"a/+/c": "a/b/c a//c", "a/#": "a a/b a/b/c a//c a/b/c/d", "+": "a", "+/+": "a/b /x",
               "/+": "/x", "+/b/#": "a/b a/b/c a/b/c/d"}
    topics = ["a", "a/b", "a/b/c", "a//c", "a/b/c/d", "/x"]
    publisher = Peer(case, version).connect()
    subscribers = {}
    for rest in filters:
        subscribers[rest] = Peer(case, version).connect()
        subscribers[rest].subscribe(case.topic(rest), 1)
    for topic in topics:
        publisher.publish(case.topic(topic), "x", 1)
    for rest, subscriber in subscribers.items():
        got = sorted(m.topic for m in subscriber.fenced(publisher))
        same(got, sorted(case.topic(topic) for topic in filters[rest].split()), rest)


def dollar(case, version):
    """A wildcard in front does not match topics that begin with `$`."""
    peer = Peer(case, version).connect()
    peer.subscribe([("#", 1), ("+/" + case.root, 1)])
    publisher = Peer(case, version).connect()
    publisher.begin("$dollar/" + case.root, "x", 0)
    publisher.publish(case.topic("plain"), "y", 1)
    same([m.topic for m in peer.fenced(publisher) if case.root in m.topic], [case.topic("plain")])


def large(case, version, qos):
    """A payload of 1 MiB, both ways, whole; retained too."""
    payload = bytes(range(256)) * (MIB // 256)
    topic = case.topic("large")
    peer = Peer(case, version).connect()
    peer.subscribe(topic, qos)
    publisher = Peer(case, version).connect()
    publisher.publish(topic, payload, qos)
    publisher.publish(topic, payload[::-1], qos, retain=True)
    peer.receive(2)
    holds(peer.raw[0].payload == payload and peer.raw[1].payload == payload[::-1], "the payloads are whole")
    late = Peer(case, version).connect()
    late.subscribe(topic, qos)
    late.receive(1)
    holds(late.raw[0].payload == payload[::-1] and late.raw[0].retain, "the retained payload is whole")
    publisher.publish(topic, "", 1, retain=True)


def burst(case, version, qos):
    """Many messages at once keep their order."""
    peer = Peer(case, version).connect()
    peer.subscribe(case.topic("burst"), qos)
    publisher = Peer(case, version).connect()
    mids = [publisher.begin(case.topic("burst"), str(n), qos) for n in range(BURST)]
    for mid in mids:
        publisher.finish(mid)
    same([m.text for m in peer.fenced(publisher)], [str(n) for n in range(BURST)])


def many_topics(case, version):
    """A SUBSCRIBE and an UNSUBSCRIBE with 500 filters."""
    peer = Peer(case, version).connect()
    filters = [case.topic(f"m/{n}") for n in range(500)]
    same(peer.subscribe([(f, n % 3) for n, f in enumerate(filters)]), [n % 3 for n in range(500)])
    for n in (0, 250, 499):
        peer.publish(filters[n], str(n), 2)
    same(sorted(peer.fenced()), sorted(Message(filters[n], str(n), n % 3, False) for n in (0, 250, 499)))
    peer.unsubscribe(filters)
    peer.messages.clear()
    peer.publish(filters[7], "x", 1)
    same(peer.fenced(), [])


def long_topic(case, version):
    """A topic of 65,535 bytes."""
    peer = Peer(case, version).connect()
    topic = case.topic("t" * (65535 - len(case.topic(""))))
    same(len(topic), 65535)
    peer.subscribe(topic, 1)
    peer.publish(topic, "x", 1)
    same(peer.fenced(), [Message(topic, "x", 1, False)])


def shared(case, version):
    """Members of a group share the messages; others get them all; a member that goes leaves them to the rest."""
    members = [Peer(case, version).connect() for _ in range(3)]
    for member in members:
        member.subscribe("$share/group/" + case.topic("s/+"), 1)
    everybody = Peer(case, version).connect()
    everybody.subscribe(case.topic("s/+"), 1)
    publisher = Peer(case, version).connect()
    for n in range(30):
        publisher.publish(case.topic("s/x"), f"{n:02}", 1)
    same([m.text for m in everybody.fenced(publisher)], [f"{n:02}" for n in range(30)])
    got = [member.fenced(publisher) for member in members]
    same(sorted(m.text for m in itertools.chain(*got)), [f"{n:02}" for n in range(30)])
    if case.is_ours:
        same([len(messages) for messages in got], [10, 10, 10], "share of each")
    leave_seen_by_broker(members.pop())
    same(members[0].unsubscribe("$share/group/" + case.topic("s/+")), [0] if version == V5 else [])
    for n in range(10):
        publisher.publish(case.topic("s/x"), f"after {n}", 1)
    same([m.text for m in members[1].fenced(publisher) if "after" in m.text], [f"after {n}" for n in range(10)])


def shared_retained(case, version):
    """A shared subscription gets no retained messages."""
    publisher = Peer(case, version).connect()
    publisher.publish(case.topic("r"), "kept", 1, retain=True)
    member = Peer(case, version).connect()
    member.subscribe("$share/group/" + case.topic("r"), 1)
    same(member.fenced(publisher), [])
    publisher.publish(case.topic("r"), "", 1, retain=True)


def shared_offline(case, version):
    """A member that is away keeps what it was sent; ours gives the rest to who is there, and waits if nobody is."""
    filter, keep = "$share/group/" + case.topic("s"), {"clean": False, "expiry": 3600}
    away = Peer(case, version, manual_ack=True, will=parting(case)).connect(**keep)
    away.subscribe(filter, 1)
    publisher = Peer(case, version).connect()
    publisher.publish(case.topic("s"), "sent", 1)
    away.receive(1)
    abort_seen_by(publisher, away)
    here = Peer(case, version).connect()
    here.subscribe(filter, 1)
    for n in range(4):
        publisher.publish(case.topic("s"), f"here {n}", 1)
    if case.is_ours:
        same([m.text for m in here.receive(4)], [f"here {n}" for n in range(4)])
    leave_seen_by_broker(here)
    publisher.publish(case.topic("s"), "last", 1)
    back = Peer(case, version, away.id).connect(**keep)
    got = sorted(m.text for m in back.fenced(publisher) + here.messages)
    same(got, [f"here {n}" for n in range(4)] + ["last", "sent"])
    holds("sent" in [m.text for m in back.messages], "the one in flight comes to its client again")
    back.disconnect()
    Peer(case, version, away.id).connect()


def empty_id(case, version):
    """An empty client id is let in with a clean session; at 3.1.1 not without one."""
    peer = Peer(case, version, "").connect()
    peer.subscribe(case.topic("a"), 1)
    peer.publish(case.topic("a"), "x", 1)
    same(peer.fenced(), [Message(case.topic("a"), "x", 1, False)])


def crowd(case):
    """200 clients at once, of all versions: each to its neighbour, one to all, and all to one."""
    versions = itertools.cycle(VERSIONS)
    peers = [Peer(case, next(versions)) for _ in range(CLIENTS)]
    for peer in peers:
        peer.connect()
    hub = Peer(case, V5).connect()
    hub.subscribe(case.topic("in/+"), 1)
    for n, peer in enumerate(peers):
        peer.subscribe([(case.topic(f"to/{n}"), 2), (case.topic("all"), 1)])
    mids = [peer.begin(case.topic(f"to/{(n + 1) % CLIENTS}"), f"from {n}", 2) for n, peer in enumerate(peers)]
    for peer, mid in zip(peers, mids):
        peer.finish(mid)
    for n in range(5):
        hub.publish(case.topic("all"), f"to all {n}", 1)
    for n, peer in enumerate(peers):
        expected = [f"from {(n - 1) % CLIENTS}"] + [f"to all {n}" for n in range(5)]
        same(sorted(m.text for m in peer.receive(6)), expected, f"client {n}")
    mids = [peer.begin(case.topic(f"in/{n}"), str(n), 1) for n, peer in enumerate(peers)]
    for peer, mid in zip(peers, mids):
        peer.finish(mid)
    same(sorted(int(m.text) for m in hub.fenced()), list(range(CLIENTS)))
    for peer in peers:
        same(len(peer.messages), 6, "messages at the end")


def keep_alive(case):
    """Who falls silent for one and a half keep-alive periods is ended, and the will sent; who pings stays."""
    watch = Peer(case, V5).connect()
    watch.subscribe(case.topic("+"), 1)
    silent, pinging, pongs = {}, {}, dict.fromkeys(VERSIONS, 0)

    def count(peer):
        with peer.changed:
            pongs[peer.version] += 1
            peer.changed.notify_all()
        return paho.Client._handle_pingresp(peer.client)

    for version in VERSIONS:
        for kind, peers in (("silent", silent), ("pinging", pinging)):
            will = {"topic": case.topic(kind), "payload": str(version), "qos": 1}
            peers[version] = Peer(case, version, will=will).connect(keep_alive=2)
        silent[version].client._check_keepalive = lambda: None
        pinging[version].client._handle_pingresp = lambda peer=pinging[version]: count(peer)
    began = time.monotonic()
    watch.receive(len(VERSIONS))
    took = time.monotonic() - began
    holds(2 <= took < 8, f"ended after {took} s")
    for peer in pinging.values():
        peer.until(lambda: pongs[peer.version] >= 2, "two PINGRESP")
    same(sorted((m.topic, m.text) for m in watch.fenced()), sorted((case.topic("silent"), str(v)) for v in VERSIONS))


def credentials(case, version):
    """A broker with users: the right password, a wrong one, an unknown user, none."""
    Peer(case, version, user=("press", "room-7")).connect()
    wrong = {V31: "Bad user name or password", V311: "Bad user name or password"}.get(version)
    for user in (("press", "room-8"), ("other", "room-7"), None):
        peer = Peer(case, version, user=user)
        reason = None
        try:
            peer.connect()
        except AssertionError:
            reason = peer.connack and str(peer.connack.reason)
        holds(reason in (wrong, "Bad user name or password", "Not authorized"), f"{user}: {reason}")


# --- 5.0 ---------------------------------------------------------------------------------------------------------

def publish_properties(case):
    """Properties pass unchanged, user properties in order; on a retained message, a will and a queued one too."""
    values = dict(UserProperty=[("b", "2"), ("a", "1"), ("b", "3"), ("", "")], ContentType="application/json",
                  PayloadFormatIndicator=1, ResponseTopic=case.topic("back"), CorrelationData=bytes(range(256)))

    def check(peer):
        peer.until(lambda: any(m.topic.endswith("props") for m in peer.raw), "the message")
        props = next(m for m in peer.raw if m.topic.endswith("props")).properties
        for name, value in values.items():
            same(getattr(props, name, None), value, name)

    keeper = Peer(case, V5).connect(clean=False, expiry=3600)
    keeper.subscribe(case.topic("+"), 2)
    keeper.disconnect()
    publisher = Peer(case, V5).connect()
    live = Peer(case, V5).connect()
    live.subscribe(case.topic("props"), 2)
    publisher.publish(case.topic("props"), "{}", 2, retain=True, **values)
    check(live)
    late = Peer(case, V5).connect()
    late.subscribe(case.topic("props"), 2)
    check(late)
    keeper = Peer(case, V5, keeper.id).connect(clean=False)
    check(keeper)
    publisher.publish(case.topic("props"), "", 1, retain=True)
    watch = Peer(case, V5).connect()
    watch.subscribe(case.topic("will/props"), 2)
    Peer(case, V5, will={"topic": case.topic("will/props"), "payload": "{}", "qos": 1,
                         "properties": properties("willmessage", **values)}).connect().abort()
    check(watch)
    # Nobody without 5.0 is troubled by them.
    old = Peer(case, V311).connect()
    old.subscribe(case.topic("props"), 2)
    publisher.publish(case.topic("props"), "{}", 2, **values)
    same(old.fenced(), [Message(case.topic("props"), "{}", 2, False)])


def long_properties(case):
    """User properties of 65,535 bytes, and 500 of them."""
    peer = Peer(case, V5).connect()
    peer.subscribe(case.topic("a"), 1)
    for values in ([("k" * 65535, "v" * 65535)], [(f"k{n}", f"v{n}") for n in range(500)]):
        peer.publish(case.topic("a"), "x", 1, UserProperty=values)
        count = len(peer.receive(1 if len(values) == 1 else 2))
        same(peer.raw[count - 1].properties.UserProperty, values)


def message_expiry(case):
    """The time that a message waits is taken off; when nothing is left, it is not sent, and not retained."""
    keep = {"clean": False, "expiry": 3600}
    peer = Peer(case, V5).connect(**keep)
    peer.subscribe(case.topic("#"), 1)
    live = Peer(case, V5).connect()
    live.subscribe(case.topic("+"), 1)
    peer.disconnect()
    publisher = Peer(case, V5).connect()
    publisher.publish(case.topic("short"), "short", 1, retain=True, MessageExpiryInterval=1)
    publisher.publish(case.topic("long"), "long", 1, retain=True, MessageExpiryInterval=1000)
    publisher.publish(case.topic("none"), "none", 1)
    same([getattr(m.properties, "MessageExpiryInterval", None) for m in (live.receive(3), live.raw)[1]],
         [1, 1000, None], "live")
    # The clock is a will that is sent two seconds from now.
    clock = Peer(case, V5).connect()
    clock.subscribe("clock/" + case.root, 1)
    Peer(case, V5, will={"topic": "clock/" + case.root, "payload": "", "qos": 1,
                         "properties": properties("willmessage", WillDelayInterval=2)}).connect(expiry=10).abort()
    clock.receive(1)
    again = Peer(case, V5, peer.id).connect(**keep)
    same([m.text for m in again.fenced()], ["long", "none"])
    holds(900 <= again.raw[0].properties.MessageExpiryInterval <= 998, again.raw[0].properties)
    late = Peer(case, V5).connect()
    late.subscribe(case.topic("+"), 1)
    same([m.text for m in late.fenced()], ["long"])
    holds(900 <= late.raw[0].properties.MessageExpiryInterval <= 998, late.raw[0].properties)
    again.disconnect()
    Peer(case, V5, peer.id).connect()


def will_delay(case):
    """Sent after its delay, or when the session ends; not if the client comes back before."""
    watch = Peer(case, V5).connect()
    watch.subscribe(case.topic("+"), 1)

    def dies(rest, delay, expiry):
        peer = Peer(case, V5, will={"topic": case.topic(rest), "payload": rest, "qos": 1,
                                    "properties": properties("willmessage", WillDelayInterval=delay)})
        peer.connect(clean=False, expiry=expiry).abort()
        return peer

    back = dies("back", 2, 100)
    began = time.monotonic()
    dies("delay", 2, 100)
    dies("session", 1000, 1)
    ended = dies("clean", 1000, 1000)
    back.connect(clean=False, expiry=100)
    back.was_resumed(True, "session present")
    # A clean start ends the session, and with it the delay.
    Peer(case, V5, ended.id).connect()
    same([m.text for m in watch.receive(3)], ["clean", "session", "delay"])
    holds(time.monotonic() - began >= 1.9, "after the delay")
    same(len(watch.fenced()), 3, "wills")


def disconnect_with_will(case):
    """A DISCONNECT with reason 0x04 asks for the will."""
    watch = Peer(case, V5).connect()
    watch.subscribe(case.topic("+"), 1)
    peer = Peer(case, V5, will={"topic": case.topic("will"), "payload": "bye", "qos": 1}).connect()
    peer.disconnect(reasoncode=paho.ReasonCode(paho.PacketTypes.DISCONNECT, "Disconnect with will message"))
    same(watch.receive(1)[0].text, "bye")


def session_expiry(case):
    """0 ends with the connection; a DISCONNECT may change it; 1 s is over after a will that says so."""
    name = case.name("expires")
    Peer(case, V5, name).connect(clean=False, expiry=0).disconnect()
    Peer(case, V5, name).connect(clean=False, expiry=100).was_resumed(False, "after expiry 0")
    peer = Peer(case, V5, name).connect(clean=False, expiry=100)
    peer.was_resumed(True, "within 100 s")
    peer.disconnect(properties=properties("disconnect", SessionExpiryInterval=0))
    peer = Peer(case, V5, name).connect(clean=False, expiry=100)
    peer.was_resumed(False, "after a DISCONNECT that ends it")
    peer.disconnect()
    watch = Peer(case, V5).connect()
    watch.subscribe(case.topic("+"), 1)
    # The will comes at the end of the session, long before its delay.
    Peer(case, V5, name, will={"topic": case.topic("will"), "payload": "", "qos": 1, "properties":
         properties("willmessage", WillDelayInterval=1000)}).connect(clean=False, expiry=1).abort()
    watch.receive(1)
    Peer(case, V5, name).connect(clean=False).was_resumed(False, "after one second")


def subscription_ids(case):
    """Each matching subscription's identifier comes with the message; a retained one has it too."""
    peer = Peer(case, V5).connect()
    peer.subscribe(case.topic("#"), 1, SubscriptionIdentifier=7)
    peer.subscribe(case.topic("+"), 1, SubscriptionIdentifier=268435455)
    peer.subscribe(case.topic("a"), 1)
    peer.publish(case.topic("a"), "x", 1, retain=True)
    peer.fenced()
    ids = [getattr(m.properties, "SubscriptionIdentifier", []) for m in peer.raw if m.topic == case.topic("a")]
    if case.is_ours:
        same([sorted(found) for found in ids], [[7, 268435455]], "identifiers of one copy")
    same(sorted(itertools.chain(*ids)), [7, 268435455])
    late = Peer(case, V5).connect()
    late.subscribe(case.topic("+"), 1, SubscriptionIdentifier=9)
    late.receive(1)
    same(late.raw[0].properties.SubscriptionIdentifier, [9], "with the retained message")
    # Subscribed to again, with another identifier.
    late.subscribe(case.topic("+"), 1, SubscriptionIdentifier=10)
    late.receive(2)
    same(late.raw[1].properties.SubscriptionIdentifier, [10], "after subscribing again")
    peer.publish(case.topic("a"), "", 1, retain=True)


def topic_alias(case):
    """An alias stands for its topic, can be given to another one, and ends with the connection."""
    subscriber = Peer(case, V5).connect()
    subscriber.subscribe(case.topic("#"), 1)
    publisher = Peer(case, V5).connect()
    most = publisher.connack.properties.TopicAliasMaximum
    holds(most >= 1, "the broker allows aliases")
    for qos in range(3):
        publisher.publish(case.topic("one"), f"sets {qos}", qos, TopicAlias=most)
        publisher.publish("", f"uses {qos}", qos, TopicAlias=most)
    publisher.publish(case.topic("two"), "sets", 1, TopicAlias=most)
    publisher.publish("", "uses", 1, TopicAlias=most)
    got = subscriber.fenced(publisher)
    same(sorted((m.topic, m.text) for m in got), sorted(
        [(case.topic("one"), f"{verb} {qos}") for verb in ("sets", "uses") for qos in range(3)] +
        [(case.topic("two"), "sets"), (case.topic("two"), "uses")]))
    holds(not any(hasattr(m.properties, "TopicAlias") for m in subscriber.raw), "none is forwarded")
    other = Peer(case, V5).connect()
    other.begin("", "unknown", 1, TopicAlias=1)
    other.until(lambda: other.ended, "the end")
    holds(other.ended.value in (0x82, 0x94), f"an unknown alias: {other.ended}")
    other = Peer(case, V5).connect()
    other.begin(case.topic("a"), "x", 1, TopicAlias=min(most + 1, 65535))
    if most < 65535:
        other.until(lambda: other.ended, "the end")
        same(other.ended.value, 0x94, "reason for an alias that is too high")


def reason_codes(case):
    """What answers say: no subscribers, no subscription, a filter that is not allowed."""
    peer = Peer(case, V5).connect()
    for qos in (1, 2):
        # To say that there are no subscribers is left to the broker.
        holds(peer.publish(case.topic("nobody"), "x", qos) in (0, 0x10), "reason without subscribers")
    same(peer.subscribe([(case.topic("a"), 0), (case.topic("b"), 1), (case.topic("c"), 2)]), [0, 1, 2])
    same(peer.publish(case.topic("a"), "x", 2), 0)
    same(peer.unsubscribe([case.topic("a"), case.topic("none")]), [0, 0x11])


def shared_no_local(case):
    """No Local on a shared subscription is a protocol error."""
    peer = Peer(case, V5).connect()
    peer.client.subscribe("$share/group/" + case.topic("a"), options=SubscribeOptions(qos=1, noLocal=True))
    peer.until(lambda: peer.ended, "the end")
    same(peer.ended.value, 0x82, "reason")


def assigned_id(case):
    """The broker gives a client id to a client without one, which finds its session by it."""
    peer = Peer(case, V5, "").connect(expiry=100)
    name = peer.connack.properties.AssignedClientIdentifier
    holds(name, "a name")
    peer.subscribe(case.topic("a"), 1)
    other = Peer(case, V5, "").connect()
    holds(other.connack.properties.AssignedClientIdentifier != name, "another name")
    peer.disconnect()
    again = Peer(case, V5, name).connect(clean=False)
    again.was_resumed(True, "session present")
    holds(not hasattr(again.connack.properties, "AssignedClientIdentifier"), "none is assigned")


def receive_maximum(case):
    """The broker sends no more than the client takes at once, and goes on at each acknowledgement."""
    peer = Peer(case, V5, manual_ack=True).connect(ReceiveMaximum=3)
    peer.subscribe(case.topic("+"), 1)
    publisher = Peer(case, V5).connect()
    for n in range(10):
        publisher.publish(case.topic("a"), str(n), 1)
    publisher.publish(case.topic("zero"), "not counted", 0)
    # QoS 0 is not held back by it; whether it overtakes is left to the broker.
    for n in range(10):
        peer.until(lambda: [m.text for m in peer.messages if m.qos][n:], f"message {n}")
        same(peer.client._send_pingreq(), 0)
        holds(len([m for m in peer.messages if m.qos]) <= n + 3, f"too many after {n} acknowledgements")
        peer.client.ack([m for m in peer.raw if m.qos][n].mid, 1)
    same([m.text for m in peer.messages if m.qos], [str(n) for n in range(10)])


def packet_size(case):
    """A message that is too large for a client is not sent to it; the others are, and it stays connected."""
    small = Peer(case, V5).connect(MaximumPacketSize=200)
    large_one = Peer(case, V5).connect()
    for peer in (small, large_one):
        peer.subscribe(case.topic("a"), 1)
    for text in ("before", "x" * 300, "after"):
        same(large_one.publish(case.topic("a"), text, 1), 0)
    same([len(m.text) for m in large_one.fenced()], [6, 300, 5])
    same([m.text for m in small.fenced(large_one)], ["before", "after"])


def no_local(case):
    """A client does not get its own messages."""
    peer = Peer(case, V5).connect()
    peer.subscribe([(case.topic("a"), SubscribeOptions(qos=1, noLocal=True))])
    other = Peer(case, V5).connect()
    peer.publish(case.topic("a"), "own", 1)
    other.publish(case.topic("a"), "other", 1)
    same([m.text for m in peer.fenced(other)], ["other"])


def retain_options(case):
    """Retain As Published, and the three ways of Retain Handling."""
    publisher = Peer(case, V5).connect()
    publisher.publish(case.topic("a"), "old", 1, retain=True)
    expected = {0: ["old", "old"], 1: ["old"], 2: []}
    peers = {}
    for handling in expected:
        peers[handling] = Peer(case, V5).connect()
        for _ in range(2):
            peers[handling].subscribe([(case.topic("a"), SubscribeOptions(
                qos=1, retainAsPublished=handling == 1, retainHandling=handling))])
    publisher.publish(case.topic("a"), "new", 1, retain=True)
    publisher.publish(case.topic("a"), "live", 1)
    for handling, peer in peers.items():
        same([(m.text, m.retain) for m in peer.fenced(publisher)],
             [(text, True) for text in expected[handling]] + [("new", handling == 1), ("live", False)],
             f"handling {handling}")
    publisher.publish(case.topic("a"), "", 1, retain=True)


def request_response(case):
    """A request with a response topic and correlation data, and its answer."""
    service = Peer(case, V5).connect()
    service.subscribe(case.topic("ask"), 1)
    asker = Peer(case, V5).connect(RequestResponseInformation=1)
    asker.subscribe(case.topic("answer/" + asker.id), 1)
    asker.publish(case.topic("ask"), "what time", 1, ResponseTopic=case.topic("answer/" + asker.id),
                  CorrelationData=b"nr-7")
    service.receive(1)
    asked = service.raw[0].properties
    service.publish(asked.ResponseTopic, "noon", 1, CorrelationData=asked.CorrelationData)
    same(asker.receive(1)[0].text, "noon")
    same(asker.raw[0].properties.CorrelationData, b"nr-7")


def announced(case):
    """What the CONNACK announces, by which a client goes."""
    props = Peer(case, V5).connect().connack.properties
    for name in ("RetainAvailable", "WildcardSubscriptionAvailable", "SubscriptionIdentifierAvailable",
                 "SharedSubscriptionAvailable"):
        same(getattr(props, name, 1), 1, name)
    same(getattr(props, "MaximumQoS", 2), 2, "MaximumQoS")
    holds(getattr(props, "ReceiveMaximum", 65535) >= 1, "ReceiveMaximum")
    holds(not hasattr(props, "AssignedClientIdentifier"), "no id is assigned to a client that has one")


# --- the lane ----------------------------------------------------------------------------------------------------

def every_version(lane, version):
    """The cases that each version has."""
    number = VERSIONS[version]
    for function in (each_qos, crossing, to_itself, retained, retained_many, will, resumed,
                     unacknowledged, take_over, unsubscribed, overlapping, granted_again, wildcards, dollar,
                     many_topics, long_topic, shared, shared_retained, shared_offline):
        lane.case(f"{number}: {function.__name__.replace('_', ' ')}", function, version)
    if version != V31:
        lane.case(f"{number}: empty client id", empty_id, version)
    for flow in (CutAtPubrec, CutAtPubcomp):
        lane.case(f"{number}: exactly once, {flow.__name__}", exactly_once, version, flow)
    for qos in range(3):
        lane.case(f"{number}: 1 MiB at QoS {qos}", large, version, qos)
        lane.case(f"{number}: {BURST} messages in order at QoS {qos}", burst, version, qos)


def main():
    """Runs what --only asks for; cases of a broker with users only when it says so."""
    lane = Lane()
    if lane.arguments.only == "credentials":
        for version, number in VERSIONS.items():
            lane.case(f"{number}: credentials", credentials, version)
        return
    for version in VERSIONS:
        every_version(lane, version)
    for function in (publish_properties, long_properties, message_expiry, will_delay, disconnect_with_will,
                     session_expiry, subscription_ids, topic_alias, reason_codes, shared_no_local, assigned_id,
                     receive_maximum, packet_size, no_local, retain_options, request_response, announced):
        lane.case(f"5.0: {function.__name__.replace('_', ' ')}", function)
    lane.case(f"all versions: {CLIENTS} clients at once", crowd)
    lane.case("all versions: keep alive", keep_alive)


if __name__ == "__main__":
    main()
