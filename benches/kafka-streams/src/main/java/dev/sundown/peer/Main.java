package dev.sundown.peer;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.Stores;

/**
 * Reads session events, writes terminal events. Arguments: bootstrap servers, application id, source
 * topic, target topic, folder for the state, kind of store (rocksdb or memory), idle timeout, absolute
 * timeout and lateness in milliseconds. Says RUNNING whenever everything it owns is restored.
 * After SIGTERM it leaves the group and exits with status 0.
 */
public final class Main {
    private static final int THREADS = 2;
    private static final long CACHE_BYTES = 64 * 1024 * 1024;

    private Main() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        String bootstrap = arguments[0];
        String application = arguments[1];
        String source = arguments[2];
        String target = arguments[3];
        String folder = arguments[4];
        boolean persistent = arguments[5].equals("rocksdb");
        Timeouts timeouts = new Timeouts(
                Long.parseLong(arguments[6]), Long.parseLong(arguments[7]), Long.parseLong(arguments[8]));

        KafkaStreams streams =
                new KafkaStreams(topology(source, target, persistent, timeouts), properties(bootstrap, application, folder));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println(now);
            if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
                ended.countDown();
            }
        });
        // Otherwise the group would wait for a member that is gone until its session times out.
        CloseOptions leave = CloseOptions.groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(Duration.ofSeconds(10));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean failed = streams.state() == KafkaStreams.State.ERROR;
            boolean closed = streams.close(leave);
            // Otherwise the status after SIGTERM would be 143, and 0 after a failure.
            Runtime.getRuntime().halt(closed && !failed ? 0 : 1);
        }));
        streams.start();
        ended.await();
    }

    private static Topology topology(String source, String target, boolean persistent, Timeouts timeouts) {
        var strings = Serdes.String();
        var bytes = Serdes.ByteArray();
        return new Topology()
                .addSource("events", strings.deserializer(), bytes.deserializer(), source)
                .addProcessor("tracker", () -> new SessionProcessor(timeouts), "events")
                .addStateStore(Stores.keyValueStoreBuilder(
                        store(SessionProcessor.SESSIONS, persistent), strings, Session.serde()).withCachingEnabled(), "tracker")
                // Not cached: the cache would be flushed by each range query.
                .addStateStore(Stores.keyValueStoreBuilder(
                        store(SessionProcessor.DEADLINES, persistent), bytes, bytes), "tracker")
                .addSink("endings", target, strings.serializer(), strings.serializer(), "tracker");
    }

    private static KeyValueBytesStoreSupplier store(String name, boolean persistent) {
        return persistent ? Stores.persistentKeyValueStore(name) : Stores.inMemoryKeyValueStore(name);
    }

    private static Properties properties(String bootstrap, String application, String folder) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, THREADS);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES);
        // As the tracker: transactions of half a second, a group that notices a death in ten.
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500);
        properties.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 10_000);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return properties;
    }
}
