import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** The API server, as the service account of this pod may talk to it: in its own namespace. */
class KubernetesApi {
  private static final Path ACCOUNT = Path.of("/var/run/secrets/kubernetes.io/serviceaccount");
  private static final String SERVER = "https://kubernetes.default.svc";
  private static final Duration REQUEST_TIMEOUT = Duration.ofSeconds(10);
  private static final int NOT_FOUND = 404;

  private static final ObjectMapper JSON = new ObjectMapper();

  private final HttpClient client;
  private final String namespace;

  KubernetesApi() throws Exception {
    client = HttpClient.newBuilder().sslContext(trust()).connectTimeout(REQUEST_TIMEOUT).build();
    namespace = Files.readString(ACCOUNT.resolve("namespace"));
  }

  /** All resources of a kind; an empty list if the cluster does not know the kind. */
  List<JsonNode> list(String version, String kind, String query) throws Exception {
    JsonNode answer = send("GET", path(version, kind) + query, null, "");
    List<JsonNode> items = new ArrayList<>();
    answer.path("items").forEach(items::add);
    return items;
  }

  /** Merges something into a resource, or into what is below it: {@code /status}. */
  void patch(JsonNode resource, String below, ObjectNode change) throws Exception {
    String kind = resource.path("kind").asText().toLowerCase() + "s";
    String name = resource.at("/metadata/name").asText();
    String path = path(resource.path("apiVersion").asText(), kind) + "/" + name + below;
    send("PATCH", path, change, "application/merge-patch+json");
  }

  /** Makes a secret in place of one of the same name. */
  JsonNode replaceSecret(String name, ObjectNode secret) throws Exception {
    String secrets = path("v1", "secrets");
    send("DELETE", secrets + "/" + name, null, "");
    return send("POST", secrets, secret, "application/json");
  }

  private String path(String version, String kind) {
    String root = version.contains("/") ? "/apis/" : "/api/";
    return root + version + "/namespaces/" + namespace + "/" + kind;
  }

  private JsonNode send(String method, String path, JsonNode body, String type) throws Exception {
    var content =
        body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(JSON.writeValueAsString(body));
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create(SERVER + path))
            .timeout(REQUEST_TIMEOUT)
            .method(method, content)
            // Renewed while this runs.
            .header("Authorization", "Bearer " + Files.readString(ACCOUNT.resolve("token")));
    if (body != null) {
      request.header("Content-Type", type);
    }
    var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() >= 300 && answer.statusCode() != NOT_FOUND) {
      throw new IOException(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
    }
    return JSON.readTree(answer.body());
  }

  private static SSLContext trust() throws Exception {
    KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
    authorities.load(null, null);
    try (InputStream file = Files.newInputStream(ACCOUNT.resolve("ca.crt"))) {
      var certificate = CertificateFactory.getInstance("X.509").generateCertificate(file);
      authorities.setCertificateEntry("cluster", certificate);
    }
    TrustManagerFactory trust =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(authorities);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }
}
