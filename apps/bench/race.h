#pragma once
#include <functional>

#include "apps/bench/suite_ops.h"

namespace vitrine::apps {

/// Milliseconds of one call of each side; an empty one does not take part. `plain` is ours without relative positions.
struct Sides {
  std::function<double()> ours, peer = {}, onednn = {}, plain = {};
};

/// Warms every side up, then measures them in turn for options.rounds rounds. Fills in the row's load, ms, system
/// allocations, and for the other sides medians over rounds of the ratio within a round. The peer stays out if the
/// row's check is not "ok".
void race(const BenchOptions& options, const Sides& sides, BenchRow& row);

}  // namespace vitrine::apps
