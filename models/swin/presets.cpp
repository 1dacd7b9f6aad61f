#include "models/swin/swin.h"

namespace vitrine::models {
namespace {

std::vector<SwinConfig> make_presets() {
  const SwinConfig tiny{.name = "swin_tiny_patch4_window7_224"};
  const std::vector<int64_t> deep{2, 2, 18, 2}, wide{4, 8, 16, 32};
  std::vector<SwinConfig> list{tiny,
                               {.name = "swin_small_patch4_window7_224", .depths = deep},
                               {.name = "swin_base_patch4_window7_224", .dim = 128, .depths = deep, .heads = wide},
                               {.name = "swin_base_patch4_window12_384",
                                .image_size = 384,
                                .dim = 128,
                                .depths = deep,
                                .heads = wide,
                                .window = 12}};
  // The iRPE paper's Swin-T with contextual RPE on q, k, v (supplement 6; irpe 6.6) was not published as a program.
  // Here each of the 13 x 13 offsets in a window has its own bucket, as in Swin's bias, and heads share the vectors, as
  // in the published models of DeiT.
  list.push_back(tiny);
  list.back().name += "_ctx_product_169_shared_qkv";
  list.back().bias = false;
  list.back().rpe = ops::parse_rpe("rpe-3-product-ctx-1-qkv-clip");
  // Ours, for small images: a few minutes on two cores.
  list.push_back({.name = "swin_micro_patch2_window7_28",
                  .image_size = 28,
                  .patch_size = 2,
                  .num_classes = 10,
                  .dim = 32,
                  .depths = {2, 4},
                  .heads = {1, 2}});
  list.push_back({.name = "swin_micro_patch2_window4_32",
                  .image_size = 32,
                  .patch_size = 2,
                  .num_classes = 10,
                  .dim = 32,
                  .depths = {2, 2, 2},
                  .heads = {1, 2, 4},
                  .window = 4});
  return list;
}

}  // namespace

const std::vector<SwinConfig>& swin_presets() {
  static const std::vector<SwinConfig> presets = make_presets();
  return presets;
}

}  // namespace vitrine::models
