#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/bench/peer.h"
#include "apps/bench/row.h"
#include "core/device.h"
#include "core/dtype.h"

namespace vitrine::apps {

struct BenchOptions {
  Device device;
  std::vector<Dtype> dtypes;
  std::string filter;  ///< rows whose op, or else "op: sample", contains it; empty for all
  uint64_t seed = 0;
  int rounds = 7;         ///< each measures us, the peer, and oneDNN, one after the other
  double budget_ms = 60;  ///< of one measurement
  int idle_seconds = 0;   ///< wait at most so long for an idle machine before a row
  Peer* peer = nullptr;
  std::string peer_name = {};
  std::function<void(const BenchRow&)> report = {};  ///< sees each row as it is finished
};

/// Names that `filter` can select: those of the ops with bench samples, and "scalar_chain".
std::vector<std::string> bench_names();

/// Times the bench samples of every op, forward and forward+backward, and the chain of a million scalar ops. With a
/// peer, outputs and gradients are compared first: a row that disagrees has no ratio.
std::vector<BenchRow> bench_ops(const BenchOptions& options);

}  // namespace vitrine::apps
