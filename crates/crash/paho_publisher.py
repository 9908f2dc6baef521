"""Publishes numbers with paho-mqtt, as `postrider-crash publisher` does: its messages live in memory only.

A number counts as accepted when the broker has acknowledged it (PUBACK, PUBCOMP). The journal and the lines on standard
input and output are those of src/journal.rs and src/publisher.rs.
"""

import argparse
import sys
import threading
import time
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

KEEP_ALIVE_S = 10


def read_journal(path):
    """The last number begun, by QoS."""
    last = {1: 0, 2: 0}
    try:
        with open(path, encoding="ascii") as journal:
            for line in journal:
                words = line.split()
                if len(words) == 4 and words[0] == "begun":
                    last[int(words[1])] = max(last[int(words[1])], int(words[2]))
    except FileNotFoundError:
        pass
    return last


class Publisher:
    def __init__(self, args):
        self.last = read_journal(args.journal)
        self.journal = open(args.journal, "ab", buffering=0)
        self.journal.write(b"\n")
        self.changed = threading.Condition()
        self.open = {1: {}, 2: {}}  # packet identifier to number; None for the end
        self.answers = {}  # packet identifier to whether the broker has taken it
        self.stop = False
        self.pause = 1 / args.rate
        self.window = args.window
        self.payload_bytes = args.payload_bytes
        self.connected = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "crash-publisher", protocol=paho.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_publish = self.on_publish
        # Before its first connection paho sends what is queued beside what is published, in no order.
        self.client.on_connect = lambda *_: self.connected.set()
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = 3600
        url = urlsplit(args.url)
        # A new process has forgotten its session; a connection after the first one resumes it.
        self.client.connect_async(url.hostname, url.port, KEEP_ALIVE_S, clean_start=paho.MQTT_CLEAN_START_FIRST_ONLY,
                                  properties=expiry)
        self.client.loop_start()

    def on_publish(self, client, userdata, mid, reason, properties):
        with self.changed:
            self.answers[mid] = not reason.is_failure
            self.settle()

    def publish(self, qos, payload, number):
        # paho calls `on_publish` with a lock that `publish` needs: no lock is held here, and the answer may come first.
        info = self.client.publish(f"crash/{qos}", payload, qos)
        with self.changed:
            self.open[qos][info.mid] = number
            self.settle()

    def settle(self):
        """Notes what is open and answered."""
        for qos, numbers in self.open.items():
            for mid in self.answers.keys() & numbers.keys():
                number = numbers.pop(mid)
                if self.answers.pop(mid) and number is not None:
                    self.journal.write(f"accepted {qos} {number} .\n".encode())
                self.changed.notify_all()

    def run(self):
        self.connected.wait()
        while True:
            for qos in 1, 2:
                with self.changed:
                    self.changed.wait_for(lambda: self.stop or len(self.open[qos]) < self.window)
                    if self.stop:
                        return
                self.last[qos] += 1
                self.journal.write(f"begun {qos} {self.last[qos]} .\n".encode())
                self.publish(qos, str(self.last[qos]).ljust(self.payload_bytes), self.last[qos])
                time.sleep(self.pause)

    def drain(self):
        for qos in 1, 2:
            self.publish(qos, "end", None)
        with self.changed:
            self.changed.wait_for(lambda: not self.open[1] and not self.open[2])
        self.client.disconnect()
        self.client.loop_stop()

    def listen(self):
        for line in sys.stdin:
            if line.strip() == "stop":
                with self.changed:
                    self.stop = True
                    self.changed.notify_all()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--window", type=int, required=True)
    parser.add_argument("--payload-bytes", type=int, required=True)
    publisher = Publisher(parser.parse_args())
    threading.Thread(target=publisher.listen, daemon=True).start()
    publisher.run()
    publisher.drain()
    print("drained", flush=True)
    # The one who started it ends it.
    threading.Event().wait()


main()
