; Walks rows through a forest: this project's only machine code, compiled for the processor at hand when it is first used.
;
;   void predict(const model *m, const double *rows, int64 n, double *out)
;
;   rows   double[n][features], n at least 1
;   out    double[n][classes]: the mean of the values of the leaves, one a tree, that a row falls into
;   node   a row goes on at `child` if its value of `feature` is at most `cut`, else at `child` + 1; in a leaf `feature`
;          is -1 and `child` says which of `leaves`, double[][classes], is its own
;
; Sums run in the order of the trees and are divided once, at the end, as scikit-learn's are: not a bit may differ.
; Nothing is checked here. classifier.forest has checked every index, and that children stand behind their parents, so
; that every walk ends.

%node = type { double, i32, i32 }
%model = type { ptr, ptr, ptr, i64, i64, i64 }

define void @predict(ptr noalias readonly %m, ptr noalias readonly %rows, i64 %n, ptr noalias %out) {
entry:
  %nodes = load ptr, ptr %m
  %roots.at = getelementptr %model, ptr %m, i64 0, i32 1
  %roots = load ptr, ptr %roots.at
  %leaves.at = getelementptr %model, ptr %m, i64 0, i32 2
  %leaves = load ptr, ptr %leaves.at
  %trees.at = getelementptr %model, ptr %m, i64 0, i32 3
  %trees = load i64, ptr %trees.at
  %classes.at = getelementptr %model, ptr %m, i64 0, i32 4
  %classes = load i64, ptr %classes.at
  %features.at = getelementptr %model, ptr %m, i64 0, i32 5
  %features = load i64, ptr %features.at
  %divisor = sitofp i64 %trees to double
  br label %row

row:
  %r = phi i64 [ 0, %entry ], [ %r.next, %row.end ]
  %x.start = mul i64 %r, %features
  %x = getelementptr double, ptr %rows, i64 %x.start
  %sums.start = mul i64 %r, %classes
  %sums = getelementptr double, ptr %out, i64 %sums.start
  br label %zero

zero:
  %z = phi i64 [ 0, %row ], [ %z.next, %zero ]
  %zero.at = getelementptr double, ptr %sums, i64 %z
  store double 0.0, ptr %zero.at
  %z.next = add i64 %z, 1
  %z.more = icmp slt i64 %z.next, %classes
  br i1 %z.more, label %zero, label %tree

tree:
  %t = phi i64 [ 0, %zero ], [ %t.next, %tree.end ]
  %root.at = getelementptr i32, ptr %roots, i64 %t
  %root = load i32, ptr %root.at
  br label %node

node:
  %i = phi i32 [ %root, %tree ], [ %i.next, %step ]
  %i.wide = sext i32 %i to i64
  %feature.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 1
  %feature = load i32, ptr %feature.at
  %child.at = getelementptr %node, ptr %nodes, i64 %i.wide, i32 2
  %child = load i32, ptr %child.at
  %in.leaf = icmp slt i32 %feature, 0
  br i1 %in.leaf, label %leaf, label %step

step:
  %cut.at = getelementptr %node, ptr %nodes, i64 %i.wide
  %cut = load double, ptr %cut.at
  %feature.wide = sext i32 %feature to i64
  %value.at = getelementptr double, ptr %x, i64 %feature.wide
  %value = load double, ptr %value.at
  %above = fcmp ogt double %value, %cut
  %aside = zext i1 %above to i32
  %i.next = add i32 %child, %aside
  br label %node

leaf:
  %child.wide = sext i32 %child to i64
  %shares.start = mul i64 %child.wide, %classes
  %shares = getelementptr double, ptr %leaves, i64 %shares.start
  br label %add

add:
  %k = phi i64 [ 0, %leaf ], [ %k.next, %add ]
  %share.at = getelementptr double, ptr %shares, i64 %k
  %share = load double, ptr %share.at
  %sum.at = getelementptr double, ptr %sums, i64 %k
  %sum = load double, ptr %sum.at
  %sum.next = fadd double %sum, %share
  store double %sum.next, ptr %sum.at
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %classes
  br i1 %k.more, label %add, label %tree.end

tree.end:
  %t.next = add i64 %t, 1
  %t.more = icmp slt i64 %t.next, %trees
  br i1 %t.more, label %tree, label %divide

divide:
  %d = phi i64 [ 0, %tree.end ], [ %d.next, %divide ]
  %total.at = getelementptr double, ptr %sums, i64 %d
  %total = load double, ptr %total.at
  %mean = fdiv double %total, %divisor
  store double %mean, ptr %total.at
  %d.next = add i64 %d, 1
  %d.more = icmp slt i64 %d.next, %classes
  br i1 %d.more, label %divide, label %row.end

row.end:
  %r.next = add i64 %r, 1
  %r.more = icmp slt i64 %r.next, %n
  br i1 %r.more, label %row, label %end

end:
  ret void
}
