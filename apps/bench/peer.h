#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace vitrine::apps {

/// Another engine in a process of its own, which answers one line of JSON with one line of JSON:
/// tests/bench/peer_torch.py says which. It inherits stderr.
class Peer {
 public:
  /// Starts `python script` with `threads` threads. @throws Error if it cannot be started
  Peer(const std::string& python, const std::string& script, int threads);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// @throws Error with the peer's message if it answers {"error": ...}, or if it ended
  nlohmann::json ask(const nlohmann::json& request);

 private:
  int pid_ = -1, socket_ = -1;
  std::string pending_;
};

}  // namespace vitrine::apps
