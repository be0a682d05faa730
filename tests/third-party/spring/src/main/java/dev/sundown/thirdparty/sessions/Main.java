package dev.sundown.thirdparty.sessions;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpSession;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.autoconfigure.security.oauth2.client.servlet.OAuth2ClientAutoConfiguration;
import org.springframework.boot.autoconfigure.security.servlet.SecurityAutoConfiguration;
import org.springframework.context.event.EventListener;
import org.springframework.http.ResponseEntity;
import org.springframework.session.FindByIndexNameSessionRepository;
import org.springframework.session.events.SessionDestroyedEvent;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;

/**
 * An application with Spring Session. POST /login/USER starts a session and responds with its id,
 * GET /me responds 401 without one, GET /destroyed lists the events of ended sessions.
 */
@SpringBootApplication(
    exclude = {SecurityAutoConfiguration.class, OAuth2ClientAutoConfiguration.class})
@RestController
public class Main {
  private final List<Map<String, String>> destroyed = new CopyOnWriteArrayList<>();

  public static void main(String[] arguments) {
    SpringApplication.run(Main.class, arguments);
  }

  @PostMapping("/login/{user}")
  String login(@PathVariable("user") String user, HttpSession session) {
    session.setAttribute(FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME, user);
    return session.getId();
  }

  @GetMapping("/me")
  ResponseEntity<Object> me(HttpServletRequest request) {
    HttpSession session = request.getSession(false);
    return session == null ? ResponseEntity.status(401).build() : ResponseEntity.ok().build();
  }

  @GetMapping("/destroyed")
  List<Map<String, String>> destroyed() {
    return destroyed;
  }

  @EventListener
  void onDestroyed(SessionDestroyedEvent event) {
    Object user =
        event
            .getSession()
            .getAttribute(FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME);
    destroyed.add(
        Map.of(
            "session", event.getSessionId(),
            "user", String.valueOf(user),
            "event", event.getClass().getSimpleName()));
  }
}
