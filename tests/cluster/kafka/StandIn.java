import static java.util.stream.Collectors.toMap;
import static java.util.stream.Collectors.toSet;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * The tests' stand-in for Strimzi's topic and user operators, which no package registry has. It
 * turns KafkaTopic and KafkaUser resources into topics, credentials, permissions and secrets, by
 * Strimzi's conventions; nothing beyond what the chart makes use of.
 *
 * <p>Arguments: the name of the Kafka cluster; its brokers. One round a second asks for all
 * resources, and goes to Kafka when one of them is new.
 */
class StandIn {
  private static final String FINALIZER = "strimzi.io/topic-operator";
  private static final Duration ROUND = Duration.ofSeconds(1);
  /** How often Kafka is made to agree although no resource has changed. */
  private static final Duration FULL_ROUND = Duration.ofSeconds(30);
  /** Iterations of SCRAM; the fewest that Kafka accepts. */
  private static final int ITERATIONS = 4096;

  private static final ObjectMapper JSON = new ObjectMapper();

  private final String cluster;
  private final Admin kafka;
  private final KubernetesApi kubernetes = new KubernetesApi();
  /** The fingerprint of the resources at the last reconciliation, and its time. */
  private String reconciled = "";

  private Instant reconciledAt = Instant.EPOCH;

  private StandIn(String cluster, String brokers) throws Exception {
    this.cluster = cluster;
    kafka = Admin.create(Map.of("bootstrap.servers", brokers));
  }

  public static void main(String[] arguments) throws Exception {
    StandIn standIn = new StandIn(arguments[0], arguments[1]);
    while (true) {
      try {
        standIn.round();
      } catch (Exception error) {
        System.out.println("trying again: " + error);
      }
      Thread.sleep(ROUND.toMillis());
    }
  }

  private void round() throws Exception {
    String selector = "?labelSelector=strimzi.io/cluster=" + cluster;
    List<JsonNode> topics = kubernetes.list("kafka.strimzi.io/v1", "kafkatopics", selector);
    List<JsonNode> users = kubernetes.list("kafka.strimzi.io/v1", "kafkausers", selector);
    List<JsonNode> secrets = kubernetes.list("v1", "secrets", selector);
    String seen = fingerprint(topics, users, secrets);
    if (seen.equals(reconciled) && reconciledAt.plus(FULL_ROUND).isAfter(Instant.now())) {
      return;
    }
    reconcileTopics(topics);
    reconcileUsers(users, secrets);
    reconciled = seen;
    reconciledAt = Instant.now();
  }

  private static String fingerprint(List<JsonNode> topics, List<JsonNode> users, List<JsonNode> secrets) {
    StringBuilder all = new StringBuilder();
    Stream.of(topics, users, secrets)
        .flatMap(List::stream)
        .map(item -> item.path("metadata"))
        .forEach(
            metadata ->
                Stream.of("uid", "generation", "deletionTimestamp")
                    .forEach(field -> all.append(metadata.path(field).asText()).append(' ')));
    return all.toString();
  }

  // --- topics -----------------------------------------------------------------------------------

  private void reconcileTopics(List<JsonNode> resources) throws Exception {
    Set<String> existing = kafka.listTopics().names().get();
    for (JsonNode resource : resources) {
      String name = topicName(resource);
      if (resource.at("/metadata").has("deletionTimestamp")) {
        if (existing.contains(name)) {
          kafka.deleteTopics(List.of(name)).all().get();
        }
        kubernetes.patch(resource, "", object("metadata", object("finalizers", null)));
        continue;
      }
      ObjectNode held = JSON.createObjectNode();
      held.putObject("metadata").putArray("finalizers").add(FINALIZER);
      kubernetes.patch(resource, "", held);
      try {
        if (existing.contains(name)) {
          alter(name, resource.path("spec"));
        } else {
          create(name, resource.path("spec"));
        }
        ready(resource, object("topicName", JSON.valueToTree(name)));
      } catch (Exception refusal) {
        notReady(resource, refusal);
      }
    }
  }

  private static String topicName(JsonNode resource) {
    return resource.at("/spec/topicName").asText(resource.at("/metadata/name").asText());
  }

  private void create(String name, JsonNode spec) throws Exception {
    NewTopic topic = new NewTopic(name, spec.path("partitions").asInt(1), (short) -1);
    kafka.createTopics(List.of(topic.configs(configs(spec)))).all().get();
  }

  private void alter(String name, JsonNode spec) throws Exception {
    int wanted = spec.path("partitions").asInt(1);
    int found = kafka.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size();
    if (wanted < found) {
      throw new UnsupportedOperationException("Decreasing partitions not supported");
    }
    if (wanted > found) {
      kafka.createPartitions(Map.of(name, NewPartitions.increaseTo(wanted))).all().get();
    }
    List<AlterConfigOp> changes = new ArrayList<>();
    configs(spec)
        .forEach(
            (key, value) ->
                changes.add(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)));
    var topic = new ConfigResource(ConfigResource.Type.TOPIC, name);
    kafka.incrementalAlterConfigs(Map.of(topic, changes)).all().get();
  }

  private static Map<String, String> configs(JsonNode spec) {
    return spec.path("config").properties().stream()
        .collect(toMap(Map.Entry::getKey, entry -> entry.getValue().asText()));
  }

  // --- users ------------------------------------------------------------------------------------

  private void reconcileUsers(List<JsonNode> users, List<JsonNode> secrets) throws Exception {
    Map<String, JsonNode> secretsByName =
        secrets.stream().collect(toMap(secret -> secret.at("/metadata/name").asText(), s -> s));
    Set<String> scram = new HashSet<>();
    Set<AclBinding> permissions = new HashSet<>();
    for (JsonNode user : users) {
      String name = user.at("/metadata/name").asText();
      boolean password = user.at("/spec/authentication/type").asText().equals("scram-sha-512");
      JsonNode secret = secretsByName.get(name);
      if (secret == null || secret.path("data").has("password") != password) {
        secret = issue(user, name, password);
      }
      if (password) {
        scram.add(name);
        upsert(name, decoded(secret, "password"));
      }
      String principal = password ? "User:" + name : "User:CN=" + name;
      user.at("/spec/authorization/acls").forEach(acl -> permissions.addAll(bindings(principal, acl)));
    }
    removeOtherCredentials(scram);
    replacePermissions(permissions);
    for (JsonNode user : users) {
      ready(user, object("secret", user.at("/metadata/name")));
    }
  }

  private JsonNode issue(JsonNode user, String name, boolean password) throws Exception {
    ObjectNode secret = JSON.createObjectNode();
    ObjectNode metadata = secret.putObject("metadata").put("name", name);
    metadata
        .putObject("labels")
        .put("strimzi.io/cluster", cluster)
        .put("strimzi.io/kind", "KafkaUser");
    // Goes with its user.
    metadata
        .putArray("ownerReferences")
        .addObject()
        .put("apiVersion", user.path("apiVersion").asText())
        .put("kind", user.path("kind").asText())
        .put("name", name)
        .put("uid", user.at("/metadata/uid").asText());
    secret.set("data", password ? passwordOf() : certificateOf(name));
    System.out.println("issuing the credentials of " + name);
    return kubernetes.replaceSecret(name, secret);
  }

  private static ObjectNode passwordOf() {
    byte[] random = new byte[24];
    new SecureRandom().nextBytes(random);
    String password = Base64.getUrlEncoder().withoutPadding().encodeToString(random);
    String jaas =
        "org.apache.kafka.common.security.scram.ScramLoginModule required password=\""
            + password
            + "\";";
    ObjectNode data = JSON.createObjectNode();
    data.put("password", encoded(password.getBytes()));
    return data.put("sasl.jaas.config", encoded(jaas.getBytes()));
  }

  /** Signed by the authority of clients, whose key and certificate lie in /etc/clients-ca. */
  private static ObjectNode certificateOf(String name) throws Exception {
    Path folder = Files.createTempDirectory("user");
    String script =
        """
        set -e
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout user.key \
          -subj "/CN=$1" -out user.csr
        openssl x509 -req -in user.csr -days 365 -CA /etc/clients-ca/ca.crt \
          -CAkey /etc/clients-ca/ca.key -set_serial "0x$(openssl rand -hex 16)" -out user.crt
        openssl rand -hex 16 | tr -d '\\n' >user.password
        openssl pkcs12 -export -in user.crt -inkey user.key -name "$1" \
          -passout file:user.password -out user.p12
        cp /etc/clients-ca/ca.crt ca.crt
        """;
    Process process =
        new ProcessBuilder("sh", "-c", script, "sh", name)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes());
    if (process.waitFor() != 0) {
      throw new IllegalStateException("no certificate for " + name + ": " + output);
    }
    ObjectNode data = JSON.createObjectNode();
    for (String file : List.of("ca.crt", "user.crt", "user.key", "user.p12", "user.password")) {
      data.put(file, encoded(Files.readAllBytes(folder.resolve(file))));
    }
    return data;
  }

  private void upsert(String user, String password) throws Exception {
    var info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS);
    var change = new UserScramCredentialUpsertion(user, info, password);
    kafka.alterUserScramCredentials(List.of(change)).all().get();
  }

  private void removeOtherCredentials(Set<String> wanted) throws Exception {
    for (String user : kafka.describeUserScramCredentials().users().get()) {
      if (!wanted.contains(user)) {
        var deletion = new UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512);
        kafka.alterUserScramCredentials(List.of(deletion)).all().get();
      }
    }
  }

  private static Set<AclBinding> bindings(String principal, JsonNode acl) {
    JsonNode resource = acl.path("resource");
    String kind = resource.path("type").asText();
    ResourceType type =
        kind.equals("transactionalId") ? ResourceType.TRANSACTIONAL_ID : ResourceType.fromString(kind);
    boolean prefix = resource.path("patternType").asText().equals("prefix");
    var pattern =
        new ResourcePattern(
            type, resource.path("name").asText(), prefix ? PatternType.PREFIXED : PatternType.LITERAL);
    return Stream.of(JSON.convertValue(acl.path("operations"), String[].class))
        .map(name -> name.replaceAll("(?<=[a-z])(?=[A-Z])", "_"))
        .map(AclOperation::fromString)
        .map(operation -> new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW))
        .map(entry -> new AclBinding(pattern, entry))
        .collect(toSet());
  }

  private void replacePermissions(Set<AclBinding> wanted) throws Exception {
    Set<AclBinding> found = new HashSet<>(kafka.describeAcls(AclBindingFilter.ANY).values().get());
    Set<AclBinding> missing = new HashSet<>(wanted);
    missing.removeAll(found);
    kafka.createAcls(missing).all().get();
    found.removeAll(wanted);
    kafka.deleteAcls(found.stream().map(AclBinding::toFilter).toList()).all().get();
  }

  // --- conditions -------------------------------------------------------------------------------

  private void ready(JsonNode resource, ObjectNode status) throws Exception {
    writeStatus(resource, status, object("status", JSON.valueToTree("True")));
  }

  private void notReady(JsonNode resource, Exception refusal) throws Exception {
    ObjectNode condition = object("status", JSON.valueToTree("False"));
    boolean unsupported = refusal instanceof UnsupportedOperationException;
    condition.put("reason", unsupported ? "NotSupported" : "KafkaError");
    writeStatus(resource, JSON.createObjectNode(), condition.put("message", refusal.getMessage()));
  }

  private void writeStatus(JsonNode resource, ObjectNode status, ObjectNode condition) throws Exception {
    condition.put("type", "Ready");
    condition.put("lastTransitionTime", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    status.put("observedGeneration", resource.at("/metadata/generation").asLong());
    status.putArray("conditions").add(condition);
    kubernetes.patch(resource, "/status", object("status", status));
  }

  private static ObjectNode object(String field, JsonNode value) {
    return JSON.createObjectNode().set(field, value);
  }

  private static String encoded(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  private static String decoded(JsonNode secret, String key) {
    return new String(Base64.getDecoder().decode(secret.path("data").path(key).asText()));
  }
}
