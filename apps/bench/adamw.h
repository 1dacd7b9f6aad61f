#pragma once
#include "apps/bench/peak.h"
#include "apps/bench/suite_ops.h"

namespace vitrine::apps {

inline constexpr const char* kAdamW = "adamw";

/// One AdamW step over the parameters of DeiT-S (22 million in 150 tensors), f32 with f32 state, in place. The peer
/// runs its fused optimizer.
std::vector<BenchRow> bench_adamw(const BenchOptions& options, Peaks& peaks);

}  // namespace vitrine::apps
