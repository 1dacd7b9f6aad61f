#include "apps/bench/peer.h"

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace vitrine::apps {

Peer::Peer(const std::string& python, const std::string& script, int threads) {
  int ends[2];
  // One socket pair, not two pipes: writing to an ended peer can then be an error instead of a signal (MSG_NOSIGNAL).
  check<Error>(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "bench: no socket for the peer: {}",
               std::strerror(errno));
  std::string arguments[] = {python, script, std::to_string(threads)};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  const int failed = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  socket_ = ends[0];
  if (failed != 0) {
    close(socket_);
    throw Error(format("bench: the peer '{}' cannot be started: {}", python, std::strerror(failed)));
  }
}

Peer::~Peer() {
  close(socket_);  // end of input ends the peer
  waitpid(pid_, nullptr, 0);
}

nlohmann::json Peer::ask(const nlohmann::json& request) {
  const std::string line = request.dump() + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = send(socket_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    check<Error>(n > 0 || errno == EINTR, "bench: the peer ended; its messages are above");
    if (n > 0) sent += size_t(n);
  }
  size_t end;
  while ((end = pending_.find('\n')) == std::string::npos) {
    char buffer[4096];
    const ssize_t n = recv(socket_, buffer, sizeof buffer, 0);
    check<Error>(n > 0 || (n < 0 && errno == EINTR), "bench: the peer ended; its messages are above");
    if (n > 0) pending_.append(buffer, size_t(n));
  }
  const nlohmann::json answer = nlohmann::json::parse(pending_.substr(0, end), nullptr, false);
  pending_.erase(0, end + 1);
  check<Error>(answer.is_object(), "bench: the peer answered something else than JSON");
  check<Error>(!answer.contains("error"), "bench: peer: {}", answer.value("error", ""));
  return answer;
}

}  // namespace vitrine::apps
