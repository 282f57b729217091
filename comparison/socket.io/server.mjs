// One node of socket.io for scripts/drops: `server.mjs PORT [REDIS-URL]`.
//
// Its settings are those of its documentation: connection state recovery for two minutes, and over
// Redis the Redis Streams adapter as it comes, whose stream keeps 10,000 entries. Without Redis it is
// the adapter in memory, which recovers too, on one node.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, redis] = process.argv.slice(2);

let io;
const server = createServer((request, response) => {
  const topic = request.url.match(/^\/topics\/([\w-]+)$/)?.[1];
  if (request.method !== "POST" || !topic) {
    response.writeHead(request.url === "/" ? 200 : 404).end();
    return;
  }
  let body = "";
  request.setEncoding("utf8").on("data", (text) => (body += text));
  request.on("end", () => {
    io.to(topic).emit("m", body);
    response.writeHead(201).end();
  });
});

const options = {
  connectionStateRecovery: { maxDisconnectionDuration: 2 * 60 * 1000, skipMiddlewares: true },
};
if (redis) {
  const client = createClient({ url: redis });
  await client.connect();
  options.adapter = createAdapter(client);
}
io = new Server(server, options);
io.on("connection", (socket) => {
  // A recovered one is in its rooms.
  if (!socket.recovered) socket.join(socket.handshake.query.topic);
});
// On a busy machine node ends connections of publishers that are only slow.
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "127.0.0.1");
