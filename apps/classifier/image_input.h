#pragma once
#include "core/tensor.h"
#include "data/datasets/dataset.h"
#include "data/image/image.h"

namespace vitrine::apps {

/// An image as a classifier was trained to see it: grey if its data was, the shorter side brought to the input's size
/// (bicubic with antialiasing), the centre cut out, normalised.
/// @return f32 [1, 3, height, width] on the CPU
Tensor image_input(const data::Image& image, const data::Preprocessing& preprocessing);

}  // namespace vitrine::apps
