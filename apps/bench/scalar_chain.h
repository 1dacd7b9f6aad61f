#pragma once
#include "apps/bench/suite_ops.h"

namespace vitrine::apps {

inline constexpr const char* kScalarChain = "scalar_chain";

/// A million dependent ops on scalars: unrecorded, then recorded with their backward pass: the cost of an op with
/// nothing in it. Each step is x <- x * a + b, two ops, with gradients to x, a and b.
std::vector<BenchRow> bench_scalar_chain(const BenchOptions& options);

}  // namespace vitrine::apps
