"""What follows a product: its result stored through the elementwise eqns of the same kernel."""

from __future__ import annotations

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Context
from gradc.codegen.loops.ir import Expr, Load, Stmt, Store
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.plan.kernel import Root, RootKind
from gradc.tracer.graph.ir import Var


class Epilogue:
    """The stores of a contraction's kernel; the product is its first root."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.product: Expr | None = None  # the finished sum, while stores are made
        ctx.own_leaf = self.leaf
        for root in ctx.kernel.roots:
            for slot in root.slots:
                ctx.buffer(slot)

    def leaf(self, root: Root, var: Var, index: MultiIndex) -> Expr | None:
        return self.product if root.kind is RootKind.CONTRACTION else None

    def stores(self, index: MultiIndex, product: Load) -> list[Stmt]:
        """What is stored for element `index` of the result, whose sum is `product`."""
        self.ctx.expressions.forget()
        self.product = self.ctx.expressions.intern(product)
        first, *_ = self.ctx.kernel.roots
        offset = ix.ravel(index, first.shape)
        stmts: list[Stmt] = []
        for root in self.ctx.kernel.roots:
            if root.slots:
                at_root = ix.unravel(offset, root.shape)
                value = self.product if root is first else self.ctx.value(root, at_root)
                stmts += [Store(self.ctx.buffer(s), offset, value) for s in root.slots]
        self.product = None
        self.ctx.expressions.forget()
        return stmts
