#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vitrine::apps {

/// `count` different indices into `classes`, in ascending order: the classes take turns, in an order and with images
/// that depend on the seed, so that none has two more than another that still has images.
/// @param classes  the class of each image, in [0, num_classes); at least `count` of them
std::vector<int64_t> spread_choice(const std::vector<int64_t>& classes, int64_t num_classes, int64_t count,
                                   uint64_t seed);

/// "00012-ankle-boot.png": the index, and the letters and digits of the label, so that any file system takes it.
std::string sample_name(int64_t index, const std::string& label);

}  // namespace vitrine::apps
