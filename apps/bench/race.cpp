#include "apps/bench/race.h"

#include <algorithm>

#include "apps/bench/machine.h"
#include "apps/bench/timing.h"
#include "core/allocator.h"

namespace vitrine::apps {

void race(const BenchOptions& options, const Sides& sides, BenchRow& row) {
  const bool compared = sides.peer && row.check == "ok";
  row.load = wait_for_idle(options.idle_seconds);
  sides.ours();
  if (compared) sides.peer();
  if (sides.onednn) sides.onednn();
  if (sides.plain) sides.plain();
  const int64_t allocations = allocator(options.device).stats().system_allocations;
  std::vector<double> ours, theirs, ratios, shares, taxes;
  for (int round = 0; round < options.rounds; ++round) {
    ours.push_back(sides.ours());
    if (compared) theirs.push_back(sides.peer());
    if (compared) ratios.push_back(theirs.back() / ours.back());
    if (sides.onednn) shares.push_back(100 * sides.onednn() / ours.back());
    if (sides.plain) taxes.push_back(100 * (ours.back() / sides.plain() - 1));
  }
  row.system_allocations = allocator(options.device).stats().system_allocations - allocations;
  row.ms = median(ours);
  if (sides.onednn) row.percent_of_onednn = median(shares);
  if (sides.plain) row.rpe_tax = median(taxes);
  if (!compared) return;
  row.peer_ms = median(theirs);
  row.ratio = median(ratios);
  row.ratio_min = *std::min_element(ratios.begin(), ratios.end());
  row.ratio_max = *std::max_element(ratios.begin(), ratios.end());
}

}  // namespace vitrine::apps
