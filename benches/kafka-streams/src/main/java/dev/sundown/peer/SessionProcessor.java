package dev.sundown.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Ends sessions by timeout and logout.
 *
 * <p>Sessions are in one store; another one lists them by the time at which to look at them next, so that
 * nothing is scanned but what is due. Activity does not touch the index: an entry that fires early is put
 * in again at the real deadline.
 *
 * <p>Time is stream time. By the wall clock, a program that has fallen behind would end sessions whose
 * activity it has not read yet; the price is that a silent partition ends nothing.
 */
final class SessionProcessor implements Processor<String, byte[], String, String> {
    static final String SESSIONS = "sessions";
    static final String DEADLINES = "deadlines";

    private static final Duration LOOK_EVERY = Duration.ofSeconds(1);
    private static final byte[] NOTHING = {};
    private static final DateTimeFormatter RFC_3339 =
            DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);
    private static final ObjectReader JSON = new ObjectMapper().reader();

    private final Timeouts timeouts;
    private ProcessorContext<String, String> context;
    private KeyValueStore<String, Session> sessions;
    private KeyValueStore<byte[], byte[]> deadlines;
    /** Nothing in the index is earlier: what has been deleted there need not be passed over again. */
    private long earliest;

    SessionProcessor(Timeouts timeouts) {
        this.timeouts = timeouts;
    }

    @Override
    public void init(ProcessorContext<String, String> context) {
        this.context = context;
        sessions = context.getStateStore(SESSIONS);
        deadlines = context.getStateStore(DEADLINES);
        context.schedule(LOOK_EVERY, PunctuationType.STREAM_TIME, this::endWhatIsDue);
    }

    @Override
    public void process(Record<String, byte[]> record) {
        JsonNode event;
        try {
            event = JSON.readTree(record.value());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        String id = event.get("session_id").textValue();
        String user = event.get("user_id").toString();
        long time = time(event.get("activity_timestamp"));
        Session session = sessions.get(id);
        if (session != null && session.deadline(timeouts) <= time) {
            timeOut(id, session, time);
            session = null;
        }
        if (isLogout(event)) {
            // The user of an unknown session may still hold tokens.
            end(id, user, session, "logout", time, time);
        } else if (session == null) {
            Session started = new Session(user, time, time, 0);
            arm(id, started);
        } else {
            sessions.put(id, session.activeAt(time));
        }
    }

    private static boolean isLogout(JsonNode event) {
        JsonNode kind = event.get("event");
        return kind != null && "logout".equals(kind.textValue());
    }

    private static long time(JsonNode timestamp) {
        return timestamp.isNumber() ? timestamp.longValue() : Instant.parse(timestamp.textValue()).toEpochMilli();
    }

    private void arm(String id, Session session) {
        long deadline = session.deadline(timeouts);
        sessions.put(id, session.armedAt(deadline));
        deadlines.put(indexKey(deadline, id), NOTHING);
        earliest = Math.min(earliest, deadline);
    }

    private void endWhatIsDue(long streamTime) {
        long due = streamTime - timeouts.lateness();
        List<byte[]> fired = new ArrayList<>();
        try (KeyValueIterator<byte[], byte[]> entries =
                deadlines.range(indexKey(earliest, ""), indexKey(due + 1, ""))) {
            while (entries.hasNext()) {
                KeyValue<byte[], byte[]> entry = entries.next();
                fired.add(entry.key);
            }
        }
        earliest = due;
        for (byte[] key : fired) {
            deadlines.delete(key);
            long armed = ByteBuffer.wrap(key).getLong();
            String id = new String(key, 8, key.length - 8, StandardCharsets.UTF_8);
            Session session = sessions.get(id);
            if (session == null || session.armed() != armed) {
                continue;
            }
            if (session.deadline(timeouts) <= due) {
                timeOut(id, session, streamTime);
            } else {
                arm(id, session);
            }
        }
    }

    private void timeOut(String id, Session session, long now) {
        long deadline = session.deadline(timeouts);
        boolean idle = session.lastActivity() + timeouts.idle() == deadline;
        end(id, session.user(), session, idle ? "idle_timeout" : "absolute_timeout", deadline, now);
    }

    private void end(String id, String user, Session session, String reason, long endedAt, long now) {
        sessions.delete(id);
        String startedAt = session == null ? "null" : format(session.startedAt());
        String lastActivity = session == null ? "null" : format(session.lastActivity());
        String ending = """
                {"session_id":"%s","user_id":%s,"reason":"%s","started_at":%s,"last_activity":%s,\
                "ended_at":%s,"detected_at":%s}""".formatted(
                id, user, reason, startedAt, lastActivity, format(endedAt), format(now));
        context.forward(new Record<>(id, ending, now));
    }

    private static String format(long time) {
        return '"' + RFC_3339.format(Instant.ofEpochMilli(time)) + '"';
    }

    /** Big-endian, so that keys sort by time. */
    private static byte[] indexKey(long time, String id) {
        byte[] text = id.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length).putLong(time).put(text).array();
    }
}
