"use strict"
// An MQTT.js client whose verbs wait for their answers.

const { EventEmitter } = require("node:events")
const mqtt = require("mqtt")
const { WAIT_MS_MAX } = require("./lane.js")

const VERSIONS = { 3: "3.1", 4: "3.1.1", 5: "5.0" }

/** One client. Its events fill lists; verbs wait on them. */
class Peer {
  /** A client that is not connected; `store` is what an earlier client of the same session keeps its messages in. */
  constructor(kase, version, { id = kase.name(), will, store, user, ack, size } = {}) {
    Object.assign(this, { kase, version, id, will, store, user, ack, size })
    this.changed = new EventEmitter().setMaxListeners(0)
    this.messages = []
    this.packets = []
    this.connack = this.ended = this.error = this.disconnected = null
    kase.closing.push(() => this.client?.endAsync(true))
  }

  /** Connects and waits for the CONNACK; fails if it says no. */
  async connect({ clean = true, expiry, keepalive = 60, ...properties } = {}) {
    if (expiry !== undefined) properties.sessionExpiryInterval = expiry
    this.client = mqtt.connect({
      host: "127.0.0.1",
      port: this.kase.port,
      protocolVersion: this.version,
      protocolId: this.version === 3 ? "MQIsdp" : "MQTT",
      clientId: this.id,
      clean,
      keepalive,
      reconnectPeriod: 0,
      resubscribe: false,
      will: this.will,
      ...(this.version === 5 ? { properties } : {}),
      ...(this.store ? { outgoingStore: this.store } : {}),
      ...(this.user ? { username: this.user[0], password: this.user[1] } : {}),
      ...(this.ack ? { customHandleAcks: this.ack } : {}),
    })
    const event = (name, act) => this.client.on(name, (...args) => (act(...args), this.changed.emit("changed")))
    event("connect", connack => (this.connack = connack))
    event("error", error => (this.error = error))
    event("close", () => (this.ended = true))
    event("disconnect", packet => (this.disconnected = packet.reasonCode))
    event("message", (topic, payload, packet) => {
      const text = payload.length < 100000 ? payload.toString() : payload.length
      this.messages.push({ topic, text, qos: packet.qos, retain: packet.retain })
      this.packets.push(packet)
    })
    this.client.on("packetreceive", packet => this.received?.(packet))
    await this.until(() => this.connack || this.ended || this.error, "CONNACK")
    if (!this.connack) throw this.error ?? new Error("the connection ended before the CONNACK")
    return this
  }

  /** Subscribes to a filter, or to an object of filters; returns the SUBACK's codes. */
  async subscribe(filters, options = {}) {
    const packet = await this.answer("SUBACK", done =>
      this.client.subscribe(filters, options, (error, granted, suback) => done(error, suback)))
    return packet.granted
  }

  /** Unsubscribes; returns the UNSUBACK's codes, which 5.0 has. */
  async unsubscribe(filters) {
    return (await this.answer("UNSUBACK", done => this.client.unsubscribe(filters, done))).granted
  }

  /** Publishes and waits until the exchange is complete; returns its reason. */
  async publish(topic, payload = "", options = {}) {
    const packet = await this.answer("the end of PUBLISH", done => this.client.publish(topic, payload, options, done))
    return packet?.reasonCode ?? 0
  }

  /** Sends a DISCONNECT and waits for the end of the connection. */
  async disconnect(packet = {}) {
    await this.client.endAsync(false, packet)
  }

  /** Ends the connection without a DISCONNECT. */
  async abort() {
    this.client.stream.destroy()
    await this.until(() => this.ended, "the end of the connection")
  }

  /** Waits until a condition on what the events have filled is true. */
  until(condition, what) {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (!condition()) return
        clearTimeout(timer)
        this.changed.off("changed", check)
        resolve()
      }
      const timer = setTimeout(() => {
        this.changed.off("changed", check)
        const got = JSON.stringify(this.messages).slice(0, 500)
        reject(new Error(`${this.id} waited in vain for ${what}; ended: ${this.ended}, ${this.error}; ${got}`))
      }, WAIT_MS_MAX)
      this.changed.on("changed", check)
      check()
    })
  }

  /** Waits for `count` messages in all, and returns what there is. */
  async receive(count) {
    await this.until(() => this.messages.length >= count, `${count} messages`)
    return [...this.messages]
  }

  /** All messages that came before a message that is published now. */
  async fenced(publisher = this) {
    const mark = this.kase.topic(`fence/${this.kase.name()}`)
    await this.subscribe(mark, { qos: 2 })
    await publisher.publish(mark, "fence", { qos: 2 })
    await this.until(() => this.messages.some(m => m.topic === mark), "the fence")
    return this.messages.filter(m => !m.topic.includes("/fence/"))
  }

  /** Calls a verb with a callback and waits for it. */
  async answer(what, call) {
    let result
    call((error, packet) => {
      result = { error, packet }
      this.changed.emit("changed")
    })
    await this.until(() => result || this.ended, what)
    if (!result) throw new Error(`${what}: the connection ended: ${this.error}`)
    if (result.error) throw result.error
    return result.packet
  }
}

module.exports = { Peer, VERSIONS, Store: mqtt.Store }
