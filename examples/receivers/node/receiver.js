// Receives the handler's webhooks and verifies their signatures, with Node's standard library.
//
//   WEBHOOK_SECRET=... node receiver.js 8080

const { createHmac, timingSafeEqual } = require('node:crypto')
const { createServer } = require('node:http')

const MAX_BODY_BYTES = 1 << 20
const MAX_AGE_SECONDS = 300

const secret = process.env.WEBHOOK_SECRET
if (!secret) throw new Error('WEBHOOK_SECRET is not set')
const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret)
// A handler delivers at least once. Keep the ids where they survive a restart, for as long as events.
const seen = new Set()

function isAuthentic(headers, body) {
  const id = headers['webhook-id'] ?? ''
  const timestamp = headers['webhook-timestamp'] ?? ''
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - timestamp) > MAX_AGE_SECONDS) return false
  const digest = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
  const expected = Buffer.from(`v1,${digest}`)
  // One signature for each secret, so that secrets can be rotated.
  return (headers['webhook-signature'] ?? '').split(' ').some((signature) => {
    const given = Buffer.from(signature)
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
}

async function receive(request) {
  const chunks = []
  let length = 0
  for await (const chunk of request) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) return 413
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  if (request.method !== 'POST' || !isAuthentic(request.headers, body)) return 401
  const id = request.headers['webhook-id']
  if (!seen.has(id)) {
    const event = JSON.parse(body)
    console.log(`ended ${event.session_id}: ${event.reason}`)
    // Last, so that an event whose processing failed is processed again.
    seen.add(id)
  }
  return 204
}

const server = createServer((request, response) => {
  receive(request)
    .catch(() => 500)
    .then((status) => response.writeHead(status).end())
})
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
