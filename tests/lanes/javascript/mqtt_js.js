"use strict"
// MQTT.js (npm) against a broker: 3.1, 3.1.1 and 5.0. See lane.js for the arguments.

const assert = require("node:assert/strict")
const { Lane } = require("./lane.js")
const { Peer, Store, VERSIONS } = require("./peer.js")

const MIB = 1024 * 1024
const CLIENTS = 200
const BURST = 1000
const KEEP = { clean: false, expiry: 3600 }

const numbers = count => [...Array(count).keys()]
const texts = messages => messages.map(m => m.text)
const byText = (a, b) => (a.text < b.text ? -1 : 1)

// --- every version ---------------------------------------------------------------------------------------------------

/** Each QoS of a publisher to each QoS of a subscription: the lower one arrives. */
async function eachQos(kase, version) {
  const publisher = await new Peer(kase, version).connect()
  const subscribers = []
  for (const qos of [0, 1, 2]) {
    subscribers.push(await new Peer(kase, version).connect())
    assert.deepEqual(await subscribers[qos].subscribe(kase.topic("+/temp"), { qos }), [qos])
  }
  for (const qos of [0, 1, 2]) await publisher.publish(kase.topic("7/temp"), `21.${qos}`, { qos })
  for (const qos of [0, 1, 2]) {
    // A QoS 2 message is handed over at PUBREL, perhaps after later ones.
    assert.deepEqual((await subscribers[qos].fenced(publisher)).sort(byText), [0, 1, 2].map(n =>
      ({ topic: kase.topic("7/temp"), text: `21.${n}`, qos: Math.min(n, qos), retain: false })))
  }
}

/** A publisher of one version, subscribers of all. */
async function crossing(kase, version) {
  const publisher = await new Peer(kase, version).connect()
  for (const other of [3, 4, 5]) {
    const subscriber = await new Peer(kase, other).connect()
    await subscriber.subscribe(kase.topic(other), { qos: 2 })
    await publisher.publish(kase.topic(other), "text", { qos: 2 })
    assert.deepEqual(await subscriber.fenced(publisher),
      [{ topic: kase.topic(other), text: "text", qos: 2, retain: false }])
  }
}

/** Stored, replaced, sent to new subscriptions with the flag, live without it, cleared by an empty one. */
async function retained(kase, version) {
  const topic = kase.topic("keep")
  const publisher = await new Peer(kase, version).connect()
  for (const qos of [0, 1, 2]) await publisher.publish(topic, `at ${qos}`, { qos, retain: true })
  const early = await new Peer(kase, version).connect()
  await early.subscribe(kase.topic("+"), { qos: 2 })
  assert.deepEqual(await early.receive(1), [{ topic, text: "at 2", qos: 2, retain: true }])
  await publisher.publish(topic, "next", { qos: 1, retain: true })
  await publisher.publish(topic, "passing", { qos: 1 })
  await publisher.publish(topic, "", { qos: 1, retain: true })
  assert.deepEqual((await early.fenced(publisher)).slice(1), ["next", "passing", ""].map(text =>
    ({ topic, text, qos: 1, retain: false })))
  const late = await new Peer(kase, version).connect()
  await late.subscribe(kase.topic("+"), { qos: 1 })
  assert.deepEqual(await late.fenced(publisher), [])
}

/** A will is sent when the connection breaks, with QoS and retain; not after a DISCONNECT. */
async function will(kase, version) {
  const watch = await new Peer(kase, version).connect()
  await watch.subscribe(kase.topic("+"), { qos: 2 })
  for (const qos of [0, 1, 2]) {
    const message = { topic: kase.topic(`will-${qos}`), payload: Buffer.from(`gone ${qos}`), qos, retain: qos === 1 }
    await (await new Peer(kase, version, { will: message }).connect()).abort()
    const leaver = new Peer(kase, version, { will: { ...message, payload: Buffer.from("never") } })
    await (await leaver.connect()).disconnect()
  }
  await watch.receive(3)
  assert.deepEqual((await watch.fenced()).sort(byText), [0, 1, 2].map(qos =>
    ({ topic: kase.topic(`will-${qos}`), text: `gone ${qos}`, qos, retain: false })))
  const late = await new Peer(kase, version).connect()
  await late.subscribe(kase.topic("+"), { qos: 2 })
  assert.deepEqual(texts(await late.fenced()), ["gone 1"])
  await late.publish(kase.topic("will-1"), "", { qos: 1, retain: true })
}

/** What comes while the client is away: all of QoS 1 and 2, in order, once; a clean connect ends it. */
async function resumed(kase, version) {
  const topic = kase.topic("offline")
  const id = kase.name()
  const first = await new Peer(kase, version, { id }).connect(KEEP)
  assert.equal(first.connack.sessionPresent, false)
  await first.subscribe(topic, { qos: 2 })
  await first.disconnect()
  const publisher = await new Peer(kase, version).connect()
  for (const n of numbers(200)) await publisher.publish(topic, `a${n}`, { qos: 1 })
  for (const n of numbers(200)) await publisher.publish(topic, `b${n}`, { qos: 2 })
  const again = await new Peer(kase, version, { id }).connect(KEEP)
  assert.equal(again.connack.sessionPresent, version !== 3)
  const got = await again.fenced(publisher)
  assert.deepEqual(texts(got.filter(m => m.qos === 1)), numbers(200).map(n => `a${n}`))
  assert.deepEqual(texts(got.filter(m => m.qos === 2)), numbers(200).map(n => `b${n}`))
  await again.disconnect()
  const clean = await new Peer(kase, version, { id }).connect()
  assert.equal(clean.connack.sessionPresent, false)
  await clean.disconnect()
  await publisher.publish(topic, "late", { qos: 1 })
  const last = await new Peer(kase, version, { id }).connect()
  assert.deepEqual(await last.fenced(publisher), [])
}

/** An exchange that is cut when its PUBREC or PUBCOMP arrives, and is taken up again, delivers once. */
async function exactlyOnce(kase, version, cutAt) {
  const topic = kase.topic("once")
  const subscriber = await new Peer(kase, version).connect()
  await subscriber.subscribe(topic, { qos: 2 })
  const id = kase.name()
  const store = new Store({ clean: false })
  const first = new Peer(kase, version, { id, store })
  await first.connect(KEEP)
  // "packetreceive" comes before MQTT.js handles the packet; a write after the end goes nowhere.
  first.received = packet => packet.cmd === cutAt && first.client.stream.destroy()
  first.client.publish(topic, "once", { qos: 2 }, () => {})
  await first.until(() => first.ended, "the cut")
  const again = await new Peer(kase, version, { id, store }).connect(KEEP)
  assert.equal(again.connack.sessionPresent, version !== 3)
  assert.deepEqual(await subscriber.fenced(again), [{ topic, text: "once", qos: 2, retain: false }])
  await again.disconnect()
  await new Peer(kase, version, { id }).connect()
}

/** A second connection of a client id ends the first and has its session. */
async function takeOver(kase, version) {
  const id = kase.name()
  const first = await new Peer(kase, version, { id }).connect(KEEP)
  await first.subscribe(kase.topic("a"), { qos: 1 })
  const second = await new Peer(kase, version, { id }).connect(KEEP)
  await first.until(() => first.ended, "the end of the first")
  if (version === 5) assert.equal(first.disconnected, 0x8e)
  assert.equal(second.connack.sessionPresent, version !== 3)
  await second.publish(kase.topic("a"), "x", { qos: 1 })
  assert.deepEqual(texts(await second.fenced()), ["x"])
  await second.disconnect()
  await new Peer(kase, version, { id }).connect()
}

/** Nothing comes after an UNSUBACK. */
async function unsubscribed(kase, version) {
  const peer = await new Peer(kase, version).connect()
  await peer.subscribe({ [kase.topic("a")]: { qos: 1 }, [kase.topic("b")]: { qos: 1 } })
  const reasons = await peer.unsubscribe([kase.topic("a"), kase.topic("never")])
  if (version === 5) assert.deepEqual([...reasons], [0, 0x11])
  await peer.publish(kase.topic("a"), "a", { qos: 1 })
  await peer.publish(kase.topic("b"), "b", { qos: 1 })
  assert.deepEqual(texts(await peer.fenced()), ["b"])
}

/** Several filters of one client match: the highest QoS; ours sends one copy. */
async function overlapping(kase, version) {
  const peer = await new Peer(kase, version).connect()
  await peer.subscribe({ [kase.topic("#")]: { qos: 0 }, [kase.topic("+")]: { qos: 2 }, [kase.topic("a")]: { qos: 1 } })
  await peer.publish(kase.topic("a"), "x", { qos: 2 })
  const got = await peer.fenced()
  assert.ok(got.some(m => m.qos === 2))
  if (kase.isOurs) assert.equal(got.length, 1)
}

/** A payload of 1 MiB is whole, live and retained. */
async function large(kase, version, qos) {
  const payload = Buffer.alloc(MIB, "0123456789abcde")
  const topic = kase.topic("large")
  const peer = await new Peer(kase, version).connect()
  await peer.subscribe(topic, { qos })
  const publisher = await new Peer(kase, version).connect()
  await publisher.publish(topic, payload, { qos, retain: true })
  const late = await new Peer(kase, version).connect()
  await late.subscribe(topic, { qos })
  for (const receiver of [peer, late]) {
    await receiver.receive(1)
    assert.ok(payload.equals(receiver.packets[0].payload))
  }
  await publisher.publish(topic, "", { qos: 1, retain: true })
}

/** Many messages at once keep their order. */
async function burst(kase, version, qos) {
  const peer = await new Peer(kase, version).connect()
  await peer.subscribe(kase.topic("burst"), { qos })
  const publisher = await new Peer(kase, version).connect()
  await Promise.all(numbers(BURST).map(n => publisher.publish(kase.topic("burst"), `${n}`, { qos })))
  assert.deepEqual(texts(await peer.fenced(publisher)), numbers(BURST).map(n => `${n}`))
}

/** Members of a group share the messages; others get them all. */
async function shared(kase, version) {
  const members = []
  for (const _ of [0, 1, 2]) {
    const member = await new Peer(kase, version).connect()
    await member.subscribe(`$share/group/${kase.topic("s/+")}`, { qos: 1 })
    members.push(member)
  }
  const everybody = await new Peer(kase, version).connect()
  await everybody.subscribe(kase.topic("s/+"), { qos: 1 })
  const publisher = await new Peer(kase, version).connect()
  const all = numbers(30).map(n => `${n + 10}`)
  for (const text of all) await publisher.publish(kase.topic("s/x"), text, { qos: 1 })
  assert.deepEqual(texts(await everybody.fenced(publisher)), all)
  const got = []
  for (const member of members) got.push(texts(await member.fenced(publisher)))
  assert.deepEqual(got.flat().sort(), all)
  if (kase.isOurs) assert.deepEqual(got.map(list => list.length), [10, 10, 10])
}

/** Clients that ping stay, however short their keep alive; those that fall silent are ended and their wills sent. */
async function keepAlive(kase) {
  const watch = await new Peer(kase, 5).connect()
  await watch.subscribe(kase.topic("+"), { qos: 1 })
  const pongs = new Map()
  for (const version of [3, 4, 5]) {
    const dying = rest => ({ will: { topic: kase.topic(rest), payload: Buffer.from(rest), qos: 1, retain: false } })
    const silent = await new Peer(kase, version, dying("silent")).connect({ keepalive: 2 })
    silent.client.keepaliveManager.destroy()
    const pinging = new Peer(kase, version, dying("pinging"))
    pongs.set(pinging, 0)
    pinging.received = packet => {
      if (packet.cmd === "pingresp") pongs.set(pinging, pongs.get(pinging) + 1)
      pinging.changed.emit("changed")
    }
    await pinging.connect({ keepalive: 2 })
  }
  await watch.receive(3)
  for (const pinging of pongs.keys()) await pinging.until(() => pongs.get(pinging) >= 2, "two PINGRESP")
  assert.deepEqual(texts(await watch.fenced()), ["silent", "silent", "silent"])
}

/** 200 clients at once, of all versions: each to its neighbour, one to all, all to one. */
async function crowd(kase) {
  const peers = numbers(CLIENTS).map(n => new Peer(kase, 3 + (n % 3)))
  await Promise.all(peers.map(peer => peer.connect()))
  await Promise.all(peers.map((peer, n) =>
    peer.subscribe({ [kase.topic(`to/${n}`)]: { qos: 2 }, [kase.topic("all")]: { qos: 1 } })))
  await Promise.all(peers.map((peer, n) =>
    peer.publish(kase.topic(`to/${(n + 1) % CLIENTS}`), `from ${n}`, { qos: 2 })))
  const hub = await new Peer(kase, 5).connect()
  await hub.subscribe(kase.topic("in"), { qos: 1 })
  for (const n of numbers(5)) await hub.publish(kase.topic("all"), `to all ${n}`, { qos: 1 })
  for (const [n, peer] of peers.entries()) {
    assert.deepEqual(texts(await peer.receive(6)).sort(),
      [`from ${(n + CLIENTS - 1) % CLIENTS}`, ...numbers(5).map(n => `to all ${n}`)])
  }
  await Promise.all(peers.map((peer, n) => peer.publish(kase.topic("in"), `${n}`, { qos: 1 })))
  assert.deepEqual(texts(await hub.fenced()).map(Number).sort((a, b) => a - b), numbers(CLIENTS))
  assert.ok(peers.every(peer => peer.messages.length === 6))
}

/** A broker with users: the right password, a wrong one, an unknown user, none. */
async function credentials(kase, version) {
  await new Peer(kase, version, { user: ["press", "room-7"] }).connect()
  for (const user of [["press", "room-8"], ["other", "room-7"], undefined]) {
    await assert.rejects(new Peer(kase, version, { user }).connect(), error =>
      (version === 5 ? [0x86, 0x87] : [4, 5]).includes(error.code))
  }
}

// --- 5.0 -------------------------------------------------------------------------------------------------------------

/** Properties pass unchanged: live, retained, in a will. */
async function properties(kase) {
  const sent = {
    payloadFormatIndicator: true,
    contentType: "application/json",
    responseTopic: kase.topic("back"),
    correlationData: Buffer.from(numbers(256)),
    userProperties: { a: "1", b: ["2", "3"], "": "" },
  }
  const check = async peer => {
    await peer.receive(1)
    const { userProperties, subscriptionIdentifier, ...rest } = peer.packets[0].properties
    assert.deepEqual({ ...rest, userProperties: { ...userProperties } }, sent)
  }
  const live = await new Peer(kase, 5).connect()
  await live.subscribe(kase.topic("a"), { qos: 2 })
  await live.publish(kase.topic("a"), "{}", { qos: 2, retain: true, properties: sent })
  await check(live)
  const late = await new Peer(kase, 5).connect()
  await late.subscribe(kase.topic("a"), { qos: 2 })
  await check(late)
  await late.publish(kase.topic("a"), "", { qos: 1, retain: true })
  const watch = await new Peer(kase, 5).connect()
  await watch.subscribe(kase.topic("will"), { qos: 1 })
  const dying = new Peer(kase, 5, {
    will: { topic: kase.topic("will"), payload: Buffer.from("{}"), qos: 1, retain: false, properties: sent },
  })
  await (await dying.connect()).abort()
  await check(watch)
}

/** A message that waits loses its time, and is not sent when it has none left; the clock is a delayed will. */
async function messageExpiry(kase) {
  const id = kase.name()
  const keeper = await new Peer(kase, 5, { id }).connect(KEEP)
  await keeper.subscribe(kase.topic("+"), { qos: 1 })
  await keeper.disconnect()
  const watch = await new Peer(kase, 5).connect()
  await watch.subscribe(`clock/${kase.root}`, { qos: 1 })
  await watch.publish(kase.topic("a"), "short", { qos: 1, properties: { messageExpiryInterval: 1 } })
  await watch.publish(kase.topic("b"), "long", { qos: 1, properties: { messageExpiryInterval: 1000 } })
  const will = { topic: `clock/${kase.root}`, payload: Buffer.from(""), qos: 1, retain: false }
  const clock = new Peer(kase, 5, { will: { ...will, properties: { willDelayInterval: 2 } } })
  await (await clock.connect({ expiry: 10 })).abort()
  await watch.receive(1)
  const again = await new Peer(kase, 5, { id }).connect({ clean: false })
  assert.deepEqual(texts(await again.fenced()), ["long"])
  const left = again.packets[0].properties.messageExpiryInterval
  assert.ok(left >= 900 && left <= 998, `${left} s are left`)
}

/** 0 ends with the connection; a DISCONNECT may change it. */
async function sessionExpiry(kase) {
  const id = kase.name()
  const connect = async expiry => {
    const peer = await new Peer(kase, 5, { id }).connect({ clean: false, expiry })
    return [peer, peer.connack.sessionPresent]
  }
  let [peer, isPresent] = await connect(0)
  await peer.disconnect()
  ;[peer, isPresent] = await connect(100)
  assert.equal(isPresent, false)
  await peer.disconnect()
  ;[peer, isPresent] = await connect(100)
  assert.equal(isPresent, true)
  await peer.disconnect({ reasonCode: 0, properties: { sessionExpiryInterval: 0 } })
  ;[peer, isPresent] = await connect(0)
  assert.equal(isPresent, false)
}

/** Identifiers of all subscriptions that match come with a message. */
async function subscriptionIds(kase) {
  const peer = await new Peer(kase, 5).connect()
  await peer.subscribe(kase.topic("#"), { qos: 1, properties: { subscriptionIdentifier: 7 } })
  await peer.subscribe(kase.topic("+"), { qos: 1, properties: { subscriptionIdentifier: 268435455 } })
  await peer.publish(kase.topic("a"), "x", { qos: 1 })
  await peer.fenced()
  const ids = peer.packets.filter(p => p.topic === kase.topic("a")).map(p => p.properties.subscriptionIdentifier)
  assert.deepEqual(ids.flat().sort(), [268435455, 7])
}

/** Aliases in both directions: the publisher's, and those that the broker may use. */
async function topicAlias(kase) {
  const peer = await new Peer(kase, 5).connect({ topicAliasMaximum: 5 })
  await peer.subscribe(kase.topic("#"), { qos: 1 })
  const publisher = await new Peer(kase, 5).connect()
  const most = publisher.connack.properties.topicAliasMaximum
  assert.ok(most >= 1)
  for (const n of numbers(20)) {
    const topic = kase.topic(`t${n % 2}`)
    const properties = { topicAlias: most - (n % 2) }
    await publisher.publish(n < 2 ? topic : "", `${n}`, { qos: n % 3, properties })
  }
  const got = await peer.fenced(publisher)
  assert.deepEqual(got.map(m => [m.topic, m.text]).sort(),
    numbers(20).map(n => [kase.topic(`t${n % 2}`), `${n}`]).sort())
}

/** The broker sends no more than the client takes at once, and goes on at each acknowledgement. */
async function receiveMaximum(kase) {
  const held = []
  // MQTT.js acknowledges when the callback is called.
  const ack = (topic, message, packet, done) => {
    held.push({ text: `${message}`, done })
    peer.changed.emit("changed")
  }
  const peer = await new Peer(kase, 5, { ack }).connect({ receiveMaximum: 3 })
  await peer.subscribe(kase.topic("a"), { qos: 1 })
  const publisher = await new Peer(kase, 5).connect()
  for (const n of numbers(10)) await publisher.publish(kase.topic("a"), `${n}`, { qos: 1 })
  for (const n of numbers(10)) {
    await peer.until(() => held.length > n, `message ${n}`)
    assert.ok(held.length <= n + 3, `${held.length} messages after ${n} acknowledgements`)
    held[n].done(0)
  }
  assert.deepEqual(held.map(m => m.text), numbers(10).map(n => `${n}`))
}

/** A message that is too large for a client is not sent to it; the others are. */
async function packetSize(kase) {
  const small = await new Peer(kase, 5).connect({ maximumPacketSize: 200 })
  await small.subscribe(kase.topic("a"), { qos: 1 })
  const publisher = await new Peer(kase, 5).connect()
  for (const text of ["before", "x".repeat(300), "after"]) await publisher.publish(kase.topic("a"), text, { qos: 1 })
  assert.deepEqual(texts(await small.fenced(publisher)), ["before", "after"])
}

/** No Local, Retain As Published, Retain Handling. */
async function options(kase) {
  const publisher = await new Peer(kase, 5).connect()
  await publisher.publish(kase.topic("a"), "old", { qos: 1, retain: true })
  const expected = [["old", "old"], ["old"], []]
  const peers = []
  for (const rh of [0, 1, 2]) {
    const peer = await new Peer(kase, 5).connect()
    for (const _ of [0, 1]) await peer.subscribe(kase.topic("a"), { qos: 1, rap: rh === 1, rh, nl: true })
    peers.push(peer)
  }
  await publisher.publish(kase.topic("a"), "new", { qos: 1, retain: true })
  for (const peer of peers) await peer.publish(kase.topic("a"), `own ${peer.id}`, { qos: 1 })
  for (const [rh, peer] of peers.entries()) {
    const got = (await peer.fenced(publisher)).filter(m => !m.text.startsWith("own"))
    assert.deepEqual(got.map(m => [m.text, m.retain]), [...expected[rh].map(text => [text, true]), ["new", rh === 1]])
    assert.deepEqual(peer.messages.filter(m => m.text.startsWith("own")).map(m => m.text).sort(),
      peers.filter(other => other !== peer).map(other => `own ${other.id}`).sort())
  }
  await publisher.publish(kase.topic("a"), "", { qos: 1, retain: true })
}

/** The broker gives a client id to a client without one, which finds its session by it. */
async function assignedId(kase) {
  const peer = await new Peer(kase, 5, { id: "" }).connect({ expiry: 100 })
  const id = peer.connack.properties.assignedClientIdentifier
  assert.ok(id)
  await peer.disconnect()
  const again = await new Peer(kase, 5, { id }).connect({ clean: false, expiry: 0 })
  assert.equal(again.connack.sessionPresent, true)
}

/** A will waits for its delay, and is not sent if the client comes back before. */
async function willDelay(kase) {
  const watch = await new Peer(kase, 5).connect()
  await watch.subscribe(kase.topic("+"), { qos: 1 })
  const dies = async (rest, willDelayInterval, expiry) => {
    const message = { topic: kase.topic(rest), payload: Buffer.from(rest), qos: 1, retain: false }
    const peer = new Peer(kase, 5, { will: { ...message, properties: { willDelayInterval } } })
    await (await peer.connect({ clean: false, expiry })).abort()
    return peer.id
  }
  const back = await dies("back", 1, 100)
  await dies("delay", 2, 100)
  await dies("session", 1000, 1)
  await new Peer(kase, 5, { id: back }).connect({ clean: false })
  assert.deepEqual(texts(await watch.receive(2)), ["session", "delay"])
  assert.equal((await watch.fenced()).length, 2)
}

/** A request with a response topic and correlation data, and its answer. */
async function requestResponse(kase) {
  const service = await new Peer(kase, 5).connect()
  await service.subscribe(kase.topic("ask"), { qos: 1 })
  const asker = await new Peer(kase, 5).connect({ requestResponseInformation: true })
  const responseTopic = kase.topic("answer")
  await asker.subscribe(responseTopic, { qos: 1 })
  const correlationData = Buffer.from("nr-7")
  await asker.publish(kase.topic("ask"), "what time", { qos: 1, properties: { responseTopic, correlationData } })
  await service.receive(1)
  const asked = service.packets[0].properties
  await service.publish(asked.responseTopic, "noon", { qos: 1, properties: { correlationData: asked.correlationData } })
  assert.deepEqual(texts(await asker.receive(1)), ["noon"])
  assert.equal(`${asker.packets[0].properties.correlationData}`, "nr-7")
}

/** A DISCONNECT with reason 0x04 asks for the will. */
async function disconnectWithWill(kase) {
  const watch = await new Peer(kase, 5).connect()
  await watch.subscribe(kase.topic("will"), { qos: 1 })
  const peer = new Peer(kase, 5, { will: { topic: kase.topic("will"), payload: Buffer.from("bye"), qos: 1 } })
  await (await peer.connect()).disconnect({ reasonCode: 4 })
  assert.deepEqual(texts(await watch.receive(1)), ["bye"])
}

// --- the lane --------------------------------------------------------------------------------------------------------

async function main() {
  const lane = new Lane()
  const said = run => run.name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
  if (lane.options.only === "credentials") {
    for (const version of [3, 4, 5]) await lane.case(`${VERSIONS[version]}: credentials`, credentials, version)
    return
  }
  for (const version of [3, 4, 5]) {
    const number = VERSIONS[version]
    for (const run of [eachQos, crossing, retained, will, resumed, takeOver, unsubscribed, overlapping, shared]) {
      await lane.case(`${number}: ${said(run)}`, run, version)
    }
    for (const cutAt of ["pubrec", "pubcomp"]) {
      await lane.case(`${number}: exactly once, cut at ${cutAt}`, exactlyOnce, version, cutAt)
    }
    for (const qos of [0, 1, 2]) {
      await lane.case(`${number}: 1 MiB at QoS ${qos}`, large, version, qos)
      await lane.case(`${number}: ${BURST} messages in order at QoS ${qos}`, burst, version, qos)
    }
  }
  for (const run of [properties, messageExpiry, sessionExpiry, subscriptionIds, topicAlias, receiveMaximum, packetSize,
    options, assignedId, willDelay, requestResponse, disconnectWithWill]) {
    await lane.case(`5.0: ${said(run)}`, run)
  }
  await lane.case(`all versions: ${CLIENTS} clients at once`, crowd)
  await lane.case("all versions: keep alive", keepAlive)
}

main()
