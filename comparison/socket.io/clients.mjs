// The clients of scripts/drops for servers of socket.io's protocol: `clients.mjs ORDERS`, a file of
// JSON.
//
// Says `ready` when all are connected; reads `go`, then `published [N, …]`, a number for each topic,
// then `over`; says what was received, as JSON. A cut is the loss of the TCP connection, and the
// client comes back with what socket.io's own client remembers of its session.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const orders = JSON.parse(readFileSync(process.argv[2], "utf8"));
const sum = {
  delivered: 0, twice: 0, disordered: 0, told: 0, cuts: 0, complete: 0, completedMs: null,
  // Connections lost without a cut, and clients that are not back at the end.
  lost: 0, away: 0,
};
const clients = [];
let begun, published, end;
let latest = 0;

class Client {
  constructor(n) {
    const { urls, topics, cuts } = orders;
    this.topic = n % topics;
    this.node = Math.floor(n / topics) % urls.length;
    this.cuts = [...cuts[n]];
    this.seen = new Set();
    this.highest = -1;
    this.isComplete = false;
    this.socket = io(urls[this.node], {
      transports: ["websocket"],
      forceNew: true,
      // Here: after the cut, to the node that it is to come back to.
      reconnection: false,
      query: { topic: `drops-${this.topic}` },
    });
    this.socket.on("m", (data) => this.take(data));
    this.socket.on("disconnect", () => {
      if (this.away === undefined) sum.lost += 1;
      this.back(this.away ?? 100);
    });
    this.socket.io.on("error", () => this.back(100));
    this.connected = new Promise((resolve) => {
      this.socket.on("connect", () => {
        // The application can know that something may be missing.
        if (this.wasHere && !this.socket.recovered) sum.told += 1;
        this.wasHere = true;
        this.away = undefined;
        resolve();
      });
    });
  }

  take(data) {
    const [topic, number] = data.split(" ").map(Number);
    if (topic !== this.topic) throw new Error(`not for ${this.topic}: ${data}`);
    if (this.seen.has(number)) {
      sum.twice += 1;
    } else {
      this.seen.add(number);
      sum.delivered += 1;
      if (number < this.highest) sum.disordered += 1;
      this.highest = Math.max(this.highest, number);
    }
    this.look();
  }

  look() {
    if (!published || this.isComplete || this.seen.size !== published[this.topic]) return;
    this.isComplete = true;
    sum.complete += 1;
    latest = Math.max(latest, Date.now());
    if (sum.complete === clients.length) console.log("complete");
  }

  schedule() {
    for (const at of this.cuts) setTimeout(() => this.cut(), begun + at - Date.now());
  }

  cut() {
    sum.cuts += 1;
    this.away = orders.cut;
    const { urls, moves } = orders;
    if (moves) this.node = (this.node + 1) % urls.length;
    this.socket.io.uri = urls[this.node];
    const wire = this.socket.io.engine?.transport?.ws?._socket;
    if (wire) wire.destroy();
    else this.socket.io.engine?.close();
    // Also where it was not connected at all just now, and hears of nothing.
    this.back(orders.cut);
  }

  back(after) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.socket.connect(), after);
  }
}

for (let n = 0; n < orders.clients; n += 1) {
  clients.push(new Client(n));
  if (n % 50 === 49) await Promise.all(clients.map((client) => client.connected));
}
await Promise.all(clients.map((client) => client.connected));
console.log("ready");

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "go") {
    begun = Date.now();
    for (const client of clients) client.schedule();
  } else if (line.startsWith("published ")) {
    end = Date.now();
    published = JSON.parse(line.slice("published ".length));
    for (const client of clients) client.look();
  } else if (line === "over") {
    if (sum.complete === clients.length) sum.completedMs = Math.max(0, latest - end);
    sum.away = clients.filter((client) => !client.socket.connected).length;
    if (sum.lost + sum.away > 0) {
      console.error(`${sum.lost} connections lost without a cut, ${sum.away} clients not back`);
    }
    console.log(JSON.stringify(sum));
    process.exit(0);
  }
}
