#include <algorithm>

#include "models/deit/deit.h"

namespace vitrine::models {
namespace {

struct Size {
  const char* name;
  int64_t dim, heads;
};
constexpr Size kSizes[] = {{"tiny", 192, 3}, {"small", 384, 6}, {"base", 768, 12}};

DeiTConfig preset(std::string name, const Size& size, int64_t image_size, bool distilled, const char* rpe = "none") {
  const nn::RpeChoice choice = nn::parse_rpe_choice(rpe);
  return {.name = std::move(name),
          .image_size = image_size,
          .dim = size.dim,
          .heads = size.heads,
          .distilled = distilled,
          .rpe = choice.rpe,
          .rival = choice.rival};
}

std::vector<DeiTConfig> make_presets() {
  std::vector<DeiTConfig> list;
  for (const int64_t pixels : {224, 384})
    for (const bool distilled : {false, true})
      for (const Size& size : kSizes)
        list.push_back(preset(format("deit_{}{}_patch16_{}", size.name, distilled ? "_distilled" : "", pixels), size,
                              pixels, distilled));
  // The registered models of the iRPE program (irpe 5.5), named by the buckets in use on a 14 x 14 grid.
  const auto irpe = [&](const Size& size, const char* what, const char* rpe) {
    list.push_back(preset(format("deit_{}_patch16_224_ctx_{}", size.name, what), size, 224, false, rpe));
  };
  const auto& [tiny, small, base] = kSizes;
  irpe(tiny, "product_50_shared_k", "rpe-1.9-product-ctx-1-k");
  irpe(small, "euc_20_shared_k", "rpe-20-euc-ctx-1-k");
  irpe(small, "quant_51_shared_k", "rpe-33-quant-ctx-1-k");
  irpe(small, "cross_56_shared_k", "rpe-20-cross-ctx-1-k");
  irpe(small, "product_50_shared_k", "rpe-1.9-product-ctx-1-k");
  irpe(small, "product_50_shared_qk", "rpe-1.9-product-ctx-1-qk");
  irpe(small, "product_50_shared_qkv", "rpe-1.9-product-ctx-1-qkv");
  irpe(base, "product_50_shared_k", "rpe-1.9-product-ctx-1-k");
  irpe(base, "product_50_shared_qkv", "rpe-1.9-product-ctx-1-qkv");
  // The methods that iRPE was compared with (irpe 8.5), and Axial-DeepLab's, which it discusses.
  for (const char* rival : {"shaw", "transformer-xl", "huang", "sasa", "axial"}) {
    std::string name = format("deit_small_patch16_224_{}", rival);
    std::replace(name.begin(), name.end(), '-', '_');
    list.push_back(preset(std::move(name), small, 224, false, rival));
  }
  for (const Size& size : kSizes) {
    list.push_back(preset(format("cpvt_{}_0_5", size.name), size, 224, false));
    list.back().ape = Ape::peg;
  }
  // ViT (Dosovitskiy et al., 2021), by timm's names.
  list.push_back(preset("vit_base_patch16_384", base, 384, false));
  list.push_back(preset("vit_large_patch16_384", {"large", 1024, 16}, 384, false));
  list.back().depth = 24;
  // Ours, for small images: a few minutes on two cores.
  list.push_back({.name = "deit_micro_patch4_28",
                  .image_size = 28,
                  .patch_size = 4,
                  .num_classes = 10,
                  .dim = 64,
                  .depth = 4,
                  .heads = 2});
  list.push_back({.name = "deit_tiny_patch4_32",
                  .image_size = 32,
                  .patch_size = 4,
                  .num_classes = 10,
                  .dim = 192,
                  .depth = 12,
                  .heads = 3});
  for (const char* name : {"deit_micro_distilled_patch4_28", "deit_tiny_distilled_patch4_32"}) {
    list.push_back(list[list.size() - 2]);
    list.back().name = name, list.back().distilled = true;
  }
  return list;
}

}  // namespace

const std::vector<DeiTConfig>& deit_presets() {
  static const std::vector<DeiTConfig> presets = make_presets();
  return presets;
}

}  // namespace vitrine::models
