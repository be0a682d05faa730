package dev.sundown.peer;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/**
 * A session as its store keeps it. Times are milliseconds since 1970.
 *
 * @param user     the user's id, as JSON
 * @param armed    the time under which the deadline index holds the session; it may be earlier than its
 *                 deadline
 */
record Session(String user, long startedAt, long lastActivity, long armed) {

    Session activeAt(long time) {
        return new Session(user, startedAt, Math.max(lastActivity, time), armed);
    }

    Session armedAt(long time) {
        return new Session(user, startedAt, lastActivity, time);
    }

    long deadline(Timeouts timeouts) {
        return Math.min(lastActivity + timeouts.idle(), startedAt + timeouts.absolute());
    }

    static Serde<Session> serde() {
        return Serdes.serdeFrom((topic, session) -> session == null ? null : session.encode(),
                (topic, bytes) -> bytes == null ? null : decode(bytes));
    }

    private byte[] encode() {
        byte[] id = user.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(24 + id.length)
                .putLong(startedAt).putLong(lastActivity).putLong(armed).put(id).array();
    }

    private static Session decode(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        long startedAt = buffer.getLong();
        long lastActivity = buffer.getLong();
        long armed = buffer.getLong();
        return new Session(new String(bytes, 24, bytes.length - 24, StandardCharsets.UTF_8),
                startedAt, lastActivity, armed);
    }
}
