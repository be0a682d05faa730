// Writes a login, an activity and a logout of each session. KAFKA is the folder of any Kafka distribution:
//
//   java -cp "$KAFKA/libs/*" Producer.java localhost:9092 session_logs user-1 session-1 session-2

import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Producer {
    // The defaults are right: acks=all, idempotence, and the partitioner that trackers expect.
    public static void main(String[] args) throws Exception {
        Map<String, Object> config = Map.of(
                "bootstrap.servers", args[0],
                "key.serializer", StringSerializer.class,
                "value.serializer", StringSerializer.class);
        String topic = args[1];
        String user = args[2];
        List<Future<RecordMetadata>> written = new ArrayList<>();
        try (var producer = new KafkaProducer<String, String>(config)) {
            for (String session : Arrays.asList(args).subList(3, args.length)) {
                for (String kind : List.of("login", "activity", "logout")) {
                    String event = json(Map.of(
                            "event", kind,
                            "session_id", session,
                            "user_id", user,
                            "activity_timestamp", Instant.now().toString()));
                    written.add(producer.send(new ProducerRecord<>(topic, session, event)));
                }
            }
        }
        for (Future<RecordMetadata> each : written) {
            each.get(); // throws if the event was not written
        }
    }

    // Applications have a JSON library.
    private static String json(Map<String, String> fields) {
        List<String> pairs = new ArrayList<>();
        fields.forEach((name, value) -> pairs.add(quoted(name) + ":" + quoted(value)));
        return "{" + String.join(",", pairs) + "}";
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
