#pragma once
#include <functional>
#include <span>
#include <string>

#include "data/loader.h"
#include "nn/module.h"

/// Training stops at the first step whose loss or gradient is not finite, before that step changes a weight, and then
/// looks for the cause. Steps that are well pay for one norm of the gradient.
namespace vitrine::apps {

/// What the first tensor that holds a NaN or an infinity is, as the end of a sentence: a weight that held one before
/// the step; an image of the batch; the output of an op or a gradient that an op made, with the module's path; the sum
/// of a weight's gradients. Everything is read on the host: slow, for a run that is over.
/// @param weights  of the model, as they were before the step
/// @param parts    the batches of the step, whose images are counted through
/// @param repeat   runs the same forward and backward once more: from the same weights, batches and generator
std::string first_non_finite(const nn::NamedTensors& weights, std::span<const data::Batch> parts,
                             const std::function<void()>& repeat);

/// Throws Error, beginning with `what` and naming the tensor, if a floating one holds a NaN or an infinity. One norm
/// if all is well.
void check_finite_weights(const std::string& what, const nn::NamedTensors& weights);

}  // namespace vitrine::apps
