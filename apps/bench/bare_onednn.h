#pragma once
#include <functional>
#include <string>

#include "tests/support/op_spec.h"

namespace vitrine::apps {

/// The product that `linear` or `matmul` computes on these CPU inputs, as one oneDNN call that writes to memory made in
/// advance: the rate that the op could reach with nothing around the product. Empty for other ops, and for strides or
/// broadcasts that would need more than one call.
std::function<void()> bare_product(const std::string& op, const testing::Inputs& inputs);

}  // namespace vitrine::apps
