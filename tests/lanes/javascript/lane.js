"use strict"
// What the JavaScript lanes share: named cases, one after the other, and the lines that tests/lanes/lane.sh counts.
//
// usage of every lane: node LANE.js --port N [--suffix TEXT] [--only TEXT] [--theirs]
//
// A case is a function that takes its Case. It fails by throwing; what it opened is closed after it. Nothing sleeps:
// everything waits for a condition, at most WAIT_MS_MAX.

const WAIT_MS_MAX = 20000

let cases = 0

/** One run of a function: its broker, a root for its topics, and what has to be closed at its end. */
class Case {
  constructor(port, isOurs) {
    cases += 1
    this.port = port
    // False if the broker is not this project's: cases skip what the standard leaves to the broker.
    this.isOurs = isOurs
    this.root = `case${cases}`
    this.closing = []
    this.names = 0
  }

  /** A topic that no other case uses. */
  topic(rest) {
    return `${this.root}/${rest}`
  }

  /** A client id that no other case uses, of at most 23 characters, as 3.1 asks. */
  name() {
    this.names += 1
    return `${process.pid % 100000}-${this.root.slice(4)}-${this.names}`
  }
}

/** Runs cases and prints `pass:`, `fail:` or `skip:` for each. */
class Lane {
  constructor() {
    const { values } = require("node:util").parseArgs({
      options: {
        port: { type: "string" },
        suffix: { type: "string", default: "" },
        only: { type: "string", default: "" },
        theirs: { type: "boolean", default: false },
      },
    })
    this.options = values
  }

  /** Runs run(Case, ...rest) as the case `text`. */
  async case(text, run, ...rest) {
    if (!text.includes(this.options.only)) return
    const kase = new Case(Number(this.options.port), !this.options.theirs)
    let says = "pass"
    let error = ""
    try {
      await run(kase, ...rest)
    } catch (caught) {
      says = "fail"
      error = String(caught.stack).replace(/^/gm, "  | ") + "\n"
    }
    for (const close of kase.closing.reverse()) await close()
    process.stdout.write(`${says}: ${text}${this.options.suffix}\n${error}`)
  }
}

module.exports = { Lane, WAIT_MS_MAX }
