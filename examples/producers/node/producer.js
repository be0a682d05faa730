// Writes a login, an activity and a logout of each session.
//
//   npm ci
//   node producer.js localhost:9092 session_logs user-1 session-1 session-2

import kafkajs from 'kafkajs'

const { Kafka, Partitioners } = kafkajs
const [bootstrap, topic, user, ...sessions] = process.argv.slice(2)
const producer = new Kafka({ brokers: bootstrap.split(',') }).producer({
  // In version 1 of kafkajs: Partitioners.JavaCompatiblePartitioner.
  createPartitioner: Partitioners.DefaultPartitioner,
  idempotent: true,
})

await producer.connect()
for (const session of sessions) {
  for (const event of ['login', 'activity', 'logout']) {
    const value = { event, session_id: session, user_id: user, activity_timestamp: Date.now() }
    await producer.send({ topic, messages: [{ key: session, value: JSON.stringify(value) }] })
  }
}
await producer.disconnect()
