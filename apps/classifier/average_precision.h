#pragma once
#include <cstdint>
#include <vector>

namespace vitrine::apps {

/// Average precision, averaged over the classes that any image has, in percent. For one class, with the images in
/// falling order of their scores, equal scores counting as one step k:
///
///     sum_k (recall_k - recall_{k-1}) precision_k
///
/// @param scores   [images, classes]
/// @param present  [images, classes], whether the image has the class
/// @return         NaN if no image has a class
double mean_average_precision(const std::vector<float>& scores, const std::vector<bool>& present, int64_t classes);

}  // namespace vitrine::apps
